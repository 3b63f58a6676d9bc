"""``validate bundle``: one zip file with all that a machine without network needs to run a side.

::

    __main__.py run.py              the program: standard library until it has checked the rest
    job.json requirements.txt       what is run, on what; sha256 of every other file
    mindport/ mindport-*.dist-info/ this package, as source
    case/                           what is run
    weights/                        in the candidate's layout, unless they travel apart
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import mindport.migrate
import mindport.prompts
import mindport.validate
from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.errors import DestinationError
from mindport.migrate.manifest import sha256_of
from mindport.validate.backend import check_choices, load_backend
from mindport.validate.checkpoints import Candidate
from mindport.validate.devices import parse_device
from mindport.validate.recording.archive import files_below, write_zip
from mindport.validate.recording.record import check_free
from mindport.validate.recording.running import (
    Order,
    backend_of,
    prepare_case,
    side_weights,
)
from mindport.validate.recording.shared_case import SharedCase, copy_case

SCHEMA = 1
_PROGRAM = Path(__file__).with_name("job_main.py")
_PACKAGES = (mindport.migrate, mindport.prompts, mindport.validate)
# By framework, the distributions that a worker imports, each with its module.
_NEEDS = {
    "mindspore": {"mindspore": "mindspore"},
    "torch": {"torch": "torch", "transformers": "transformers"},
}
_ALWAYS = {"numpy": "numpy", "safetensors": "safetensors", "ml-dtypes": "ml_dtypes"}


def make_bundle(order: Order, output: Path, stage: Callable[[str], None] = lambda _: None) -> str:
    """Write a job; the same order gives the same bytes.

    Args:
        order: What is to be run. Weights are carried unless it says otherwise.
        output: The zip file to make.
        stage: Told what is being done, in a few words.

    Returns:
        What the other machine must have, in words.

    Raises:
        MindportError: If the order cannot be met, or the file exists.
    """
    check_free(output)
    backend = backend_of(order)
    check_choices(backend, order.request.mode, order.request.attention)
    framework = load_backend(backend).FRAMEWORK
    needs = {**_ALWAYS, **_NEEDS.get(framework, {framework: framework})}
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        work = Path(scratch)
        stage("case and weights")
        case, prepared = prepare_case(order, work)
        candidate = side_weights(order, backend, case, prepared, work)
        stage("packing")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_zip(part, _members(order, backend, case, candidate, needs, work))
            part.rename(output)
        except OSError as error:
            raise DestinationError(
                f"{output} cannot be written: {error.strerror or error}.", "Choose another place."
            ) from None
        finally:
            part.unlink(missing_ok=True)
    return ", ".join(needs)


def _members(
    order: Order,
    backend: str,
    case: SharedCase,
    candidate: Candidate,
    needs: dict[str, str],
    work: Path,
) -> list[tuple[str, Path | bytes]]:
    request, carry = order.request, order.with_weights is not False
    copy_case(case, work / "packed" / "case", weights=False)
    weights = _weights_files(candidate)
    members: list[tuple[str, Path | bytes]] = [
        (f"case/{path.relative_to(work / 'packed' / 'case').as_posix()}", path)
        for path in files_below(work / "packed" / "case")
    ]
    members += _source()
    members.append(("requirements.txt", _pins(needs).encode()))
    files = {name: _sha256(source, work) for name, source in members}
    if carry:
        members += [(f"weights/{file.name}", file) for file in weights]
    given = request.candidate_checkpoint
    job = {
        "schema": SCHEMA,
        "mindport": metadata.version("mindport"),
        "needs": needs,
        "run": {
            "backend": backend,
            "device": str(parse_device(request.device)),
            "dtype": request.dtype,
            "mode": request.mode,
            "attention": request.attention,
            "threads": request.threads,
            "gradients": bool(case.case.targets),
        },
        "timeout": request.timeout,
        "case": case.digest,
        "origin": given.name if given is not None else candidate.origin,
        "notices": list(candidate.notices),
        "weights": {file.name: sha256_of(file) for file in weights},
        "files": files,
    }
    program = _PROGRAM.read_bytes()
    text = json.dumps(job, indent=2, sort_keys=True) + "\n"
    return [*members, ("job.json", text.encode()), ("__main__.py", program), ("run.py", program)]


def _weights_files(candidate: Candidate) -> list[Path]:
    checkpoint = open_checkpoint(candidate.folder)
    found = [*checkpoint.reader.files, *candidate.folder.glob("*.index.json")]
    return [*found, *(path for path in (checkpoint.config_path,) if path is not None)]


def _sha256(source: Path | bytes, work: Path) -> str:
    if isinstance(source, Path):
        return sha256_of(source)
    scratch = work / "member"
    scratch.write_bytes(source)
    return sha256_of(scratch)


def _source() -> Iterator[tuple[str, Path | bytes]]:
    for package in _PACKAGES:
        folder = Path(str(package.__file__)).parent
        for path in files_below(folder):
            if path.suffix == ".py":
                yield f"mindport/{folder.name}/{path.relative_to(folder).as_posix()}", path
    version = metadata.version("mindport")
    text = f"Metadata-Version: 2.1\nName: mindport\nVersion: {version}\n"
    yield f"mindport-{version}.dist-info/METADATA", text.encode()


def _pins(needs: dict[str, str]) -> str:
    """Return what the job was made beside; what is not installed here has no version."""
    lines = []
    for name in sorted(needs):
        try:
            lines.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            lines.append(name)
    return "\n".join(lines) + "\n"

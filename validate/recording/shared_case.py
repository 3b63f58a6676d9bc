"""A case that is made once and run in several places.

::

    case.json inputs.safetensors [targets.safetensors] [prompts/]    as a worker reads them
    config.json                                                      of the checkpoint
    weights.json                                                     which weights are meant
    [weights/]                                                       those weights, if carried
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from mindport.migrate.architectures import load_architecture
from mindport.migrate.config import read_config_file, resolve_config
from mindport.migrate.errors import CheckpointError
from mindport.migrate.manifest import sha256_of
from mindport.migrate.porting import Prepared
from mindport.prompts import Plan
from mindport.validate.case import SettledCase, hash_arrays, load_case, load_targets, prompts_folder

SCHEMA = 1
SMALL = 64 << 20  # bytes of weights that are carried without being asked
_CONFIG, _WEIGHTS, _CARRIED = "config.json", "weights.json", "weights"


@dataclass(frozen=True)
class Origin:
    """Which weights a case is about; what ``weights.json`` holds.

    Attributes:
        checkpoint: What was asked for: ``embedded``, ``random``, or the name of a folder or model.
        seed: Of random weights.
        filled: Whether what the checkpoint lacks was filled with initial values.
        files: sha256 of every weights file, by name.
        left_behind: Tensors that the head has no use for.
        notices: What a reader of a verdict should know.
    """

    checkpoint: str
    seed: int
    filled: bool
    files: Mapping[str, str]
    left_behind: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class SharedCase:
    """A case folder that was read and checked.

    Attributes:
        folder: Where it lies.
        case: What is run.
        inputs: What is fed.
        plan: The prompts; None for none.
        content: The contents of ``config.json``.
        origin: Which weights are meant.
    """

    folder: Path
    case: SettledCase
    inputs: dict[str, np.ndarray]
    plan: Plan | None
    content: Mapping[str, Any]
    origin: Origin

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return resolve_config(load_architecture(self.case.architecture), self.content)

    @property
    def carried(self) -> Path | None:
        """The folder of the weights, if the case carries them."""
        folder = self.folder / _CARRIED
        return folder if folder.is_dir() else None

    def parts(self) -> dict[str, str]:
        """Return a digest of each thing that makes two cases the same, by what it is."""
        what = asdict(self.case)
        inputs, targets = what.pop("inputs"), what.pop("targets")
        return {
            "what is run": _digest(what),
            "the inputs": _digest(inputs),
            "the targets": _digest(targets),
            "the prompts": self.plan.digest if self.plan else "",
            "the config": _digest(self.config),
            "the weights": _digest(sorted(self.origin.files.values())),
        }

    @property
    def digest(self) -> str:
        """sha256 of all of it: two cases with one digest are the same work."""
        return _digest(self.parts())


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def complete_case(folder: Path, prepared: Prepared, origin: Origin) -> SharedCase:
    """Add to a case as a worker reads it what another place needs to know.

    Args:
        folder: The case, with inputs and prompts.
        prepared: The plan of the port of its weights.
        origin: Which weights they are.
    """
    for name, content in ((_CONFIG, dict(prepared.config)),
                          (_WEIGHTS, {"schema": SCHEMA, **asdict(origin)})):  # fmt: skip
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return open_case(folder)


def carry_weights(folder: Path, prepared: Prepared) -> None:
    """Copy the weights into a case folder, in the layout that they have."""
    target = folder / _CARRIED
    target.mkdir()
    source = prepared.source
    for file in source.reader.files:
        shutil.copyfile(file, target / file.name)
    for index in source.folder.glob("*.index.json"):
        shutil.copyfile(index, target / index.name)
    shutil.copyfile(folder / _CONFIG, target / _CONFIG)


def weights_bytes(prepared: Prepared) -> int:
    """Return how large the weights files are."""
    return sum(file.stat().st_size for file in prepared.source.reader.files)


def copy_case(case: SharedCase, folder: Path, *, weights: bool) -> None:
    """Copy a case folder.

    Args:
        case: What to copy.
        folder: The folder to make.
        weights: Whether the weights that it carries come along.
    """
    leave = None if weights else shutil.ignore_patterns(_CARRIED)
    shutil.copytree(case.folder, folder, ignore=leave)


def weights_hashes(prepared: Prepared) -> dict[str, str]:
    """Return the sha256 of every weights file, by name."""
    return {file.name: sha256_of(file) for file in prepared.source.reader.files}


def open_case(folder: Path) -> SharedCase:
    """Read a case folder and check what it says of itself.

    Raises:
        CheckpointError: If it is no case folder, or is damaged.
    """
    if not (folder / "case.json").is_file():
        raise CheckpointError(
            f"{folder} holds no case.", "Make one: validate case ARCHITECTURE -o FOLDER."
        )
    try:
        case, inputs = load_case(folder)
        known = load_architecture(case.architecture).heads
        if case.head not in known:
            raise ValueError(f"there is no head {case.head!r}")
        content = read_config_file(folder / _CONFIG)
        origin = _read_origin(folder / _WEIGHTS)
        plan = Plan.load(prompts_folder(folder)) if case.prompts else None
        targets = load_targets(folder) if case.targets else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError,
            RecursionError) as error:  # fmt: skip
        raise CheckpointError(
            f"The case in {folder} cannot be read: {error}.", "Make or copy it again."
        ) from None
    for what, arrays, meant in (("inputs", inputs, case.inputs), ("targets", targets,
                                                                  case.targets)):  # fmt: skip
        if hash_arrays(arrays) != dict(meant):
            raise CheckpointError(
                f"The case in {folder} is damaged: its {what} are not those that it names.",
                "Make or copy it again.",
            )
    return SharedCase(folder, case, inputs, plan, content, origin)


def _read_origin(path: Path) -> Origin:
    content = json.loads(path.read_text(encoding="utf-8"))
    schema = content.pop("schema")
    if schema != SCHEMA:
        raise ValueError(f"{path.name} has schema {schema}; this mindport reads {SCHEMA}")
    for name in ("left_behind", "notices"):
        content[name] = tuple(content[name])
    return Origin(**content)

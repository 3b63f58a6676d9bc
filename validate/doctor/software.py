"""What the interpreter has: packages that are missing, hidden, doubled or in each other's way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mindport.validate.doctor.environment import Distribution, Facts, Place
from mindport.validate.doctor.finding import BACKENDS, Finding, Job
from mindport.validate.doctor.machine import Machine

# Import name: distributions, backends that need it, remedy. The first backend asks for it without
# a job; without one nothing does.
_ALL = BACKENDS
_PACKAGES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "mindport": (("mindport",), _ALL, ("mindport",)),
    "numpy": (("numpy",), _ALL, ("numpy==1.26.4",)),
    "tokenizers": (("tokenizers",), ("torch",), ("tokenizers==0.23.3",)),
    "safetensors": (("safetensors",), _ALL, ("safetensors==0.8.0",)),
    "mindspore": (
        ("mindspore", "mindspore-gpu", "mindspore-ascend", "mindspore-cpu"),
        ("mindspore", "mindnlp"),
        ("stack:mindspore",),
    ),
    "torch": (("torch",), ("torch",), ("stack:torch",)),
    "transformers": (("transformers",), ("torch", "mindnlp"), ("stack:torch",)),
    "mindnlp": (("mindnlp",), ("mindnlp",), ("stack:mindnlp",)),
    "torch_npu": (("torch-npu",), ("torch",), ()),
}
_JUDGED_BY_VERSION = ("mindspore", "torch", "transformers", "mindnlp")
_OPTIONAL = ("mindnlp", "torch_npu")  # nobody misses them without a job that needs them
_OTHERS = ("pyarrow", "huggingface-hub", "datasets", "accelerate", "peft", "protobuf")
_REGULAR = ("package", "module")


def versions_of(facts: Facts, machine: Machine) -> dict[str, str]:
    """Return the version of every part that the compatibility table may speak of."""
    versions = {"python": str(facts.python["version"])}
    for name, (distributions, _, _) in _PACKAGES.items():
        if found := facts.installed(*distributions):
            versions[name] = found.version
    for name in _OTHERS:
        if found := facts.installed(name):
            versions[name.replace("-", "_")] = found.version
    for name, text in (("cann", machine.ascend.cann), ("cuda", machine.cuda.runtime)):
        if number := re.match(r"\d+(\.\d+)*", text):
            versions[name] = number[0]
    return versions


def look_at_packages(facts: Facts, job: Job | None) -> Iterator[Finding]:
    """Yield the platform, and each package with its version or that it is missing."""
    system = facts.platform["system"]
    words = (system, facts.platform["machine"], facts.platform["libc"])
    yield Finding(
        "platform", "platform", ", ".join(word for word in words if word), "Linux",
        "ok" if system == "Linux" else "unknown",
        "" if system == "Linux" else "mindport is run on Linux alone.",
    )  # fmt: skip
    for name, (distributions, concerns, mend) in _PACKAGES.items():
        device = "Ascend" if name == "torch_npu" else ""
        found = facts.installed(*distributions)
        origin = facts.modules[name].origin if name in facts.modules else ""
        if name == "mindport" and origin:
            yield Finding("package-mindport", name, found.version if found else "from a folder",
                          "where a backend runs", "ok", concerns=concerns)  # fmt: skip
        elif found is not None:
            if name not in _JUDGED_BY_VERSION:
                yield Finding(f"package-{name}", name, found.version, "", "ok", concerns=concerns,
                              device=device)  # fmt: skip
        else:
            yield _missing(name, origin, concerns, mend, device, job)


def _missing(
    name: str,
    origin: str,
    concerns: tuple[str, ...],
    mend: tuple[str, ...],
    device: str,
    job: Job | None,
) -> Finding:
    if job is not None and job.backend == "mindnlp" and "mindnlp" in concerns:
        mend = ("stack:mindnlp",) if name != "mindport" else mend
    stray = Finding(
        f"package-{name}", name, f"not installed, but there is {origin}" if origin
        else "not installed", f"for the backend {' or '.join(concerns)}", "broken",
        "Install it in this interpreter, or name another with --python.",
        mend, concerns=concerns, device=device,
    )  # fmt: skip
    wanted = stray.about(job) if job is not None else name not in _OPTIONAL
    if wanted:
        return stray
    return Finding(stray.id, stray.what, stray.found, stray.needed, "absent",
                   concerns=concerns, device=device)  # fmt: skip


def look_for_conflicts(facts: Facts) -> Iterator[Finding]:
    """Yield names that two distributions install, and packages that something else hides."""
    for name in facts.modules:
        concerns = _concerns(name)
        owners = {d.name: d for d in facts.distributions if name in d.claims}
        if len(owners) > 1:
            yield _clash(name, list(owners.values()), concerns)
        versions = sorted({f"{d.version} in {d.location}" for d in facts.distributions
                           if d.name in owners})  # fmt: skip
        for owner in owners.values():
            twice = [d for d in facts.distributions
                     if (d.name, d.location) == (owner.name, owner.location)]  # fmt: skip
            if len({d.version for d in twice}) > 1:
                yield Finding(
                    f"twice-{name}", name, "; ".join(versions), "one", "warning",
                    "There is metadata of two versions in one folder, so the version is not sure: "
                    "an install was broken off. Install it again.",
                    (f"reinstall:{owner.name}",), concerns=concerns,
                )  # fmt: skip
                break
        if (hidden := _shadow(facts, name)) is not None:
            yield hidden


def _concerns(name: str) -> tuple[str, ...]:
    if name == "mindtorch":
        return ("mindnlp",)
    return _PACKAGES[name][1] if name in _PACKAGES else _ALL


def _clash(name: str, owners: list[Distribution], concerns: tuple[str, ...]) -> Finding:
    listing = " and ".join(f"{d.name} {d.version}" for d in owners)
    keep = "mindnlp" if name == "mindtorch" else name.replace("_", "-")
    kept = next((d for d in owners if d.name == keep), owners[0])
    others = [d for d in owners if d is not kept]
    return Finding(
        f"clash-{name}", f"the package {name}", f"installed by {listing}", f"{kept.name} alone",
        "broken",
        f"They are different projects with the same folder {name}, and pip lets the later one "
        f"overwrite the files of the earlier: neither is whole. Remove one, then install "
        f"{kept.name} again.",
        (*(f"uninstall:{d.name}" for d in others), f"reinstall:{kept.name}=={kept.version}"),
        concerns=concerns,
    )  # fmt: skip


def _shadow(facts: Facts, name: str) -> Finding | None:
    """Return that something else on the path hides an installed package, or None."""
    places = [place for place in facts.modules[name].places if place.kind in _REGULAR]
    homes = {os.path.realpath(d.location) for d in facts.distributions if name in d.claims}

    def owned(place: Place) -> bool:
        return os.path.realpath(place.entry) in homes

    if len(places) > 1 and not owned(places[0]) and any(owned(place) for place in places[1:]):
        return Finding(
            f"shadow-{name}", f"the package {name}", f"hidden by {places[0].path}",
            "the installed one", "broken",
            f"Something else on the path has the name {name} and is imported in its place. Rename "
            f"it, or take {places[0].entry} off PYTHONPATH.",
            concerns=_concerns(name),
        )  # fmt: skip
    return None


def look_around(facts: Facts, machine: Machine, folder: Path) -> Iterator[Finding]:
    """Yield what lies in the way: local folders, and paths that lead nowhere or elsewhere.

    Args:
        facts: Of the interpreter.
        machine: Its variables.
        folder: Where the user stands.
    """
    for name in facts.modules:
        local = [p for p in (folder / name / "__init__.py", folder / f"{name}.py") if p.is_file()]
        if local and str(folder) not in facts.path and name != "mindport":
            yield Finding(
                f"local-{name}", f"the package {name}", f"{local[0]} here", "nothing of that name",
                "warning",
                f"A script that is started in this folder imports this instead of {name}. Workers "
                "of mindport start elsewhere and are not hit.",
            )  # fmt: skip
    python = ".".join(str(facts.python["version"]).split(".")[:2])
    for entry in _entries(machine, "PYTHONPATH"):
        other = re.search(r"python(\d\.\d+)", entry)
        if other and other[1] != python:
            yield Finding(
                "path-python", "PYTHONPATH", entry, f"packages for Python {python}", "warning",
                f"It holds packages for Python {other[1]}. Take it off PYTHONPATH.",
            )  # fmt: skip
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH"):
        gone = [entry for entry in _entries(machine, name) if not Path(entry).exists()]
        if gone:
            yield Finding(
                f"path-{name.lower()}", name, f"{', '.join(gone)}: not there", "existing folders",
                "warning", "A path that leads nowhere is often one that was meant to lead to a "
                "library. Correct it, or take it off.",
            )  # fmt: skip
    if home := machine.variables.get("PYTHONHOME"):
        yield Finding(
            "path-pythonhome", "PYTHONHOME", home, "unset", "warning",
            "It makes every interpreter use one standard library. Unset it.",
        )  # fmt: skip


def _entries(machine: Machine, name: str) -> list[str]:
    return [entry for entry in machine.variables.get(name, "").split(os.pathsep) if entry]

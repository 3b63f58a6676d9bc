"""What runs inside the interpreter that is examined; the standard library, Python 3.7 or newer.

``probe.py facts OUT`` reads what is installed and imports nothing. ``probe.py try NAME DEVICE OUT``
imports a framework and computes a small product on a device. Both write JSON to OUT, the second
line by line, so that what came before a crash is kept. The examined interpreter need not have
mindport: the file is run by its path.
"""

from __future__ import annotations

import sys

# The folder of this file is no part of what the interpreter would find.
if sys.path and sys.path[0] == __file__.rpartition("/")[0]:
    del sys.path[0]

import importlib
import importlib.util
import json
import os
import platform
import time
import traceback
from typing import Any, Callable  # noqa: UP035

# Import name, and the distributions that rightly install it.
WATCHED = {
    "mindport": ("mindport",),
    "mindspore": ("mindspore", "mindspore-gpu", "mindspore-ascend", "mindspore-cpu"),
    "mindnlp": ("mindnlp",),
    "mindtorch": ("mindnlp", "mindtorch"),
    "torch": ("torch",),
    "torch_npu": ("torch-npu",),
    "transformers": ("transformers",),
    "tokenizers": ("tokenizers",),
    "safetensors": ("safetensors",),
    "numpy": ("numpy",),
}
# Distributions whose versions matter to others.
LISTED = ("pyarrow", "huggingface-hub", "datasets", "accelerate", "peft", "protobuf", "setuptools")
_SIDE = 8


def normalise(name: str) -> str:
    """Return a distribution's name as the index spells it."""
    return name.replace("_", "-").replace(".", "-").lower()


def gather() -> dict[str, Any]:
    """Return the facts as JSON-ready data."""
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "bits": 64 if sys.maxsize > 2**32 else 32,
        },
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "release": platform.release(),
            "libc": " ".join(platform.libc_ver()).strip(),
        },
        "distributions": distributions(),
        "modules": {name: locate(name) for name in WATCHED},
        "plugins": plugins(),
        "path": list(sys.path),
    }


def distributions() -> list[dict[str, Any]]:
    """Return what is installed of what is watched, once for every folder of metadata.

    Read from disk: ``importlib.metadata`` is younger than Python 3.7, which old images of
    MindSpore have, and MindNLP replaces parts of it.
    """
    wanted = {name for names in WATCHED.values() for name in names} | set(LISTED)
    found = []
    for entry in dict.fromkeys(os.path.abspath(entry) for entry in sys.path):
        names = sorted(os.listdir(entry)) if os.path.isdir(entry) else []
        for info in names:
            if not info.endswith((".dist-info", ".egg-info")):
                continue
            name, version = named(os.path.join(entry, info))
            claims = sorted(claimed(os.path.join(entry, info)) & set(WATCHED))
            if name and (normalise(name) in wanted or claims):
                found.append(
                    {
                        "name": normalise(name),
                        "version": version,
                        "location": entry,
                        "claims": claims,
                    }
                )
    return found


def read(*path: str) -> str:
    """Return the text of a file; nothing if there is none."""
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def named(info: str) -> tuple[str, str]:
    """Return name and version from metadata; empty if it does not say."""
    text = read(info, "METADATA") or read(info, "PKG-INFO") or read(info)
    headers: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            break
        headers.setdefault(key.strip().lower(), value.strip())
    return headers.get("name", ""), headers.get("version", "")


def claimed(info: str) -> set[str]:
    """Return the top-level names that a distribution installs, as its own lists say."""
    names = set(read(info, "top_level.txt").split())
    for line in read(info, "RECORD").splitlines():
        first, slash, _ = line.partition("/")
        if slash:
            names.add(first)
    return names


def locate(name: str) -> dict[str, Any]:
    """Return where a top-level name is found, without importing it.

    ``places`` lists what has the name on the path, in order; a folder without ``__init__.py`` is
    imported only if nothing else has the name.
    """
    places = []
    for entry in dict.fromkeys(sys.path):
        base = os.path.join(entry or os.getcwd(), name)
        if os.path.isfile(os.path.join(base, "__init__.py")):
            places.append({"entry": entry, "path": base, "kind": "package"})
        elif os.path.isfile(base + ".py"):
            places.append({"entry": entry, "path": base + ".py", "kind": "module"})
        elif os.path.isdir(base):
            places.append({"entry": entry, "path": base, "kind": "folder"})
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    origin = ""
    if spec is not None:
        origin = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
    return {"origin": origin or "", "places": places}


def plugins() -> list[str]:
    """Return the device plugins in the wheel of MindSpore."""
    origin = locate("mindspore")["origin"]
    folder = os.path.join(os.path.dirname(origin), "lib", "plugin") if origin else ""
    return sorted(n for n in os.listdir(folder) if ".so" in n) if os.path.isdir(folder) else []


def attempt(name: str, device: str, say: Callable[..., None]) -> None:
    """Import a framework and compute on a device; tell each step before the next."""
    started = time.time()
    module = importlib.import_module(name)
    say(
        step="imported",
        version=str(getattr(module, "__version__", "")),
        file=str(getattr(module, "__file__", "")),
        seconds=round(time.time() - started, 2),
    )
    if device:
        total, where = {"torch": torch_product, "mindspore": mindspore_product}[name](
            module, device, say
        )
        say(step="computed", device=device, right=total == _SIDE**3, total=total, where=where)


def torch_product(torch: Any, device: str, say: Callable[..., None]) -> tuple[float, str]:
    """Return the sum of a product of ones, and the name of the device."""
    kind, _, index = device.partition(":")
    if kind == "Ascend":
        importlib.import_module("torch_npu")
    place = {"CPU": "cpu", "GPU": "cuda", "Ascend": "npu"}[kind]
    if kind == "CPU":
        for other, module in (("GPU", "cuda"), ("Ascend", "npu")):
            seen = getattr(torch, module, None)
            say(step="sees", device=other, available=bool(seen and seen.is_available()))
        where = "CPU"
    else:
        place = place + ":" + (index or "0")
        where = str(getattr(torch, place.partition(":")[0]).get_device_name(int(index or 0)))
    ones = torch.ones((_SIDE, _SIDE), device=place)
    return float((ones @ ones).sum().item()), where


def mindspore_product(mindspore: Any, device: str, say: Callable[..., None]) -> tuple[float, str]:
    """Return the sum of a product of ones, and the name of the device."""
    kind, _, index = device.partition(":")
    if kind == "CPU":
        for other in ("GPU", "Ascend"):
            hal = getattr(mindspore, "hal", None)
            say(step="sees", device=other, available=bool(hal and hal.is_available(other)))
    if hasattr(mindspore, "set_device"):
        mindspore.set_device(kind, int(index or 0))
    else:
        mindspore.set_context(device_target=kind, device_id=int(index or 0))
    # In words that every version since 1.7 has.
    ones = mindspore.Tensor([[1.0] * _SIDE] * _SIDE, mindspore.float32)
    total = float(mindspore.ops.MatMul()(ones, ones).asnumpy().sum())
    used = mindspore.get_context("device_target")
    if used != kind:
        raise RuntimeError(kind + " was asked for, but MindSpore computed on " + str(used))
    where = "CPU" if kind == "CPU" else str(mindspore.hal.get_device_name(int(index or 0), kind))
    return total, where


def main(argv: list[str]) -> int:
    """Do what the command line says."""
    out = argv[-1]
    if argv[0] == "facts":
        with open(out, "w") as file:
            json.dump(gather(), file)
        return 0
    with open(out, "w") as file:

        def say(**content: Any) -> None:
            file.write(json.dumps(content) + "\n")
            file.flush()

        try:
            attempt(argv[1], argv[2], say)
        except BaseException as error:  # whatever it is, it is the answer
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = str(error).strip()
            say(
                step="raised",
                error=type(error).__name__,
                message=text,
                place=f"{last.filename}, line {last.lineno}",
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

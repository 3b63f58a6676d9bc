"""Whether a capture is whole: what a worker says and what it left must be the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError, safe_open

from mindport.migrate.errors import MindportError
from mindport.validate.capture import Capture

_ARRAYS = ("taps.safetensors", "oracle.safetensors", "gradients.safetensors",
           "oracle-gradients.safetensors")  # fmt: skip


class DamagedCaptureError(MindportError):
    """A folder is no capture, or not all of one."""


def read_capture(folder: Path, *, oracle: bool = False, gradients: bool = False) -> Capture:
    """Open a capture and look whether everything that it speaks of is there and can be read.

    Args:
        folder: Where it lies.
        oracle: Whether the float64 oracle must be there.
        gradients: Whether gradients must be there.

    Raises:
        DamagedCaptureError: If it is not so; the message says what is wrong.
    """
    try:
        _check_json(folder / "manifest.json")
        capture = Capture(folder)
        names = frozenset(capture.manifest.taps)
        kinds = {name: _kinds(folder / name) for name in _ARRAYS if (folder / name).is_file()}
        _check_arrays(kinds, names, oracle=oracle, gradients=gradients)
        for name in sorted(names):
            capture.stored_tap(name)
        if gradients:
            capture.gradients()
        record = capture.manifest.prompts
        if record is not None:
            capture.rows()
            if record.floor_items:
                capture.floor_rows()
            if record.control_items:
                capture.control_rows()
    except DamagedCaptureError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            SafetensorError) as error:  # fmt: skip
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DamagedCaptureError(f"{folder.name} cannot be read: {said[0]}") from None
    return capture


def _check_arrays(
    kinds: dict[str, set[str]], names: frozenset[str], *, oracle: bool, gradients: bool
) -> None:
    wanted = {"taps.safetensors": names}
    if oracle:
        wanted["oracle.safetensors"] = names
    for file, expected in wanted.items():
        if file not in kinds:
            raise DamagedCaptureError(f"{file} is missing")
        absent = sorted(expected - kinds[file])
        if absent:
            raise DamagedCaptureError(f"{file} lacks {absent[0]}, which the manifest lists")
    more = sorted(kinds["taps.safetensors"] - names)
    if more:
        raise DamagedCaptureError(f"taps.safetensors holds {more[0]}, which no manifest lists")
    if gradients and "gradients.safetensors" not in kinds:
        raise DamagedCaptureError("gradients.safetensors is missing")


def _kinds(path: Path) -> set[str]:
    """Return the names of the tensors; the library compares header and size of the file."""
    with safe_open(str(path), framework="numpy") as file:
        return set(file.keys())


def _check_json(path: Path) -> None:
    """Read JSON strictly: Python's own reader takes NaN for a number."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{path.name} holds {word}, which is no number")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)

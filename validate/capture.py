"""What came out of one run: a folder with ``manifest.json``, its taps and its prompt rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from mindport.validate.backend import Identity, LoadReport
from mindport.validate.gradient_capture import StoredGradients
from mindport.validate.pairs.stored import StoredTensor
from mindport.validate.prompting.rows import CONTROL, FLOOR, ROWS, PromptRecord

SCHEMA = 3
_MANIFEST = "manifest.json"
_TAPS = "taps.safetensors"
_ORACLE = "oracle.safetensors"
_NOTES = "notes.json"


@dataclass(frozen=True)
class CaptureManifest:
    """What a capture says of itself.

    Attributes:
        identity: What really ran.
        load_report: What became of the weights.
        weights: sha256 of every weights file, by name.
        inputs: sha256 of every input array that was fed, by name.
        targets: The same of what the loss was made with; empty without gradients.
        taps: Names of the captured taps, in network order.
        unstable: Those that another run of the same inputs gave otherwise, bit by bit.
        floor: How far correct runs were from the oracle: by run (``as fed``, or how it was
            reordered) and by tap the root mean square of the error; empty without an oracle.
        seconds: Wall time of loading and of the forward pass.
        peak_memory_bytes: Of the worker process.
        prompts: What was asked, if anything was.
    """

    identity: Identity
    load_report: LoadReport
    weights: Mapping[str, str]
    inputs: Mapping[str, str]
    taps: tuple[str, ...]
    unstable: tuple[str, ...]
    floor: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]
    peak_memory_bytes: int
    targets: Mapping[str, str] = field(default_factory=dict)
    prompts: PromptRecord | None = None


class Capture:
    """A capture on disk; arrays are read when asked for.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        content: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if content.pop("schema") != SCHEMA:
            raise ValueError(f"{folder} was written by another version of mindport")
        report = content.pop("load_report")
        record = content.pop("prompts")
        names = {key: tuple(report[key]) for key in ("missing", "unexpected", "mismatched")}
        self.manifest = CaptureManifest(
            identity=Identity(**content.pop("identity")),
            load_report=LoadReport(report["loaded"], **names),
            taps=tuple(content.pop("taps")),
            unstable=tuple(content.pop("unstable")),
            prompts=None if record is None else _prompt_record(record),
            **content,
        )

    def tap(self, name: str) -> np.ndarray:
        """Return the float32 array of a tap."""
        with safe_open(str(self.folder / _TAPS), framework="numpy") as file:
            array: np.ndarray = file.get_tensor(name)
        return array

    def stored_tap(self, name: str) -> StoredTensor:
        """Return a tap that is read piece by piece."""
        return StoredTensor(self.folder / _TAPS, name)

    def oracle(self, name: str) -> np.ndarray:
        """Return the float64 array of a tap."""
        with safe_open(str(self.folder / _ORACLE), framework="numpy") as file:
            array: np.ndarray = file.get_tensor(name)
        return array

    @property
    def stored_taps(self) -> frozenset[str]:
        """Names of the taps whose arrays are there."""
        with safe_open(str(self.folder / _TAPS), framework="numpy") as file:
            return frozenset(file.keys())

    def notes(self) -> dict[str, Any]:
        """Return what the session noted besides the taps; empty if it notes nothing."""
        path = self.folder / _NOTES
        if not path.is_file():
            return {}
        notes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return notes

    def gradients(self) -> StoredGradients:
        """Return the gradients, of a run that has them."""
        return StoredGradients(self.folder)

    def rows(self) -> np.ndarray:
        """Return the prompt rows, a memory map of float32 (items, rows of an item, vocabulary)."""
        return self._mapped(ROWS)

    def floor_rows(self) -> np.ndarray:
        """Return the rows of the floor's items, as :meth:`rows` does."""
        return self._mapped(FLOOR)

    def control_rows(self) -> np.ndarray:
        """Return the rows of the control's items, as :meth:`rows` does."""
        return self._mapped(CONTROL)

    def _mapped(self, name: str) -> np.ndarray:
        rows: np.ndarray = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        return rows


def _prompt_record(content: Mapping[str, Any]) -> PromptRecord:
    return PromptRecord(
        content["plan"], tuple(content["floor_items"]), tuple(content["control_items"])
    )


def save_capture(
    folder: Path,
    manifest: CaptureManifest,
    taps: Mapping[str, np.ndarray],
    oracle: Mapping[str, np.ndarray] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a capture into its folder; the caller renames it into place."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, arrays in ((_TAPS, taps), (_ORACLE, oracle)):
        if arrays is not None:
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(contiguous, str(folder / file))
    if notes is not None:
        (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")
    text = json.dumps({"schema": SCHEMA, **asdict(manifest)}, indent=2)
    (folder / _MANIFEST).write_text(text + "\n", encoding="utf-8")

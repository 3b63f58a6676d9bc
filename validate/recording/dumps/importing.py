"""``validate import-dump``: ``.npy`` files of another tool become a capture without proof."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindport.migrate.architectures import load_architecture
from mindport.migrate.computation import network_steps
from mindport.migrate.console import write_whole
from mindport.migrate.errors import MindportError
from mindport.validate.backend import Identity, LoadReport
from mindport.validate.capture import CaptureManifest, save_capture
from mindport.validate.own.places import Place, read_places, write_places
from mindport.validate.own.shapes import Shape, conforms, matrix_sizes, tap_shapes
from mindport.validate.recording.dumps.matching import Matched, match_taps
from mindport.validate.recording.dumps.reading import Dumped, read_dump
from mindport.validate.recording.record import (
    CAPTURE,
    CASE,
    Record,
    check_free,
    find_case,
    new_folder,
    seal,
)
from mindport.validate.recording.shared_case import SharedCase, copy_case


@dataclass(frozen=True)
class DumpRequest:
    """What is to be imported.

    Attributes:
        folder: The dump.
        tool: What wrote it.
        case: What was run: a case, or a recorded side.
        mapping: Which tensor is which tap; None, and what it leaves open, is proposed.
        write_map: Where to write down what was found; None for nowhere.
        dtype: What the run computed in.
    """

    folder: Path
    tool: str
    case: Path
    mapping: Path | None = None
    write_map: Path | None = None
    dtype: str = "float32"


def import_dump(request: DumpRequest, output: Path) -> Matched:
    """Write a dump as a recorded candidate, and return what was found in it.

    Args:
        request: What is to be imported.
        output: The folder to make.

    Raises:
        MindportError: If the dump cannot be read or understood, or the folder exists.
    """
    check_free(output)
    with tempfile.TemporaryDirectory(prefix="mindport-") as scratch:
        case = find_case(request.case, Path(scratch) / "unpacked")
        architecture = load_architecture(case.case.architecture)
        head, config = architecture.heads[case.case.head], case.config
        layers = config[architecture.layers]
        said = read_places(request.mapping, head.taps, layers) if request.mapping else {}
        found = match_taps(read_dump(request.folder, request.tool), head, layers, said)
        if request.write_map is not None:
            check_free(request.write_map)
            title = f"Taps of {architecture.title} in a dump of {request.tool}"
            write_whole(request.write_map, write_places(title, found.places, head.taps, layers))
        if not found.tensors:
            raise MindportError(
                "No tap was found in the dump: " + "; ".join(found.notices) + ".",
                "Say which file is which tap with --map FILE.",
            )
        shapes = tap_shapes(
            list(network_steps(head.steps, layers)),
            matrix_sizes(architecture, head, config),
            config,
            *case.inputs["input_ids"].shape,
        )
        arrays = {
            name: _fitted(name, tensor, found.places[name], shapes[name])
            for name, tensor in found.tensors.items()
        }
        with new_folder(output) as folder:
            _write(folder, request, case, arrays, found)
    return found


def _fitted(name: str, tensor: Dumped, place: Place, wanted: Shape) -> np.ndarray:
    """Return a tensor in the shape of its tap.

    A shape that does not conform is kept: it is for the verdict to fail on it.
    """
    array, (number, parts) = tensor.read(), place.part
    if parts > 1:
        width = array.shape[-1] // parts if array.ndim else 0
        if not width or width * parts != array.shape[-1]:
            raise MindportError(
                f"{name}: {tensor.file.name} has shape {array.shape}, which cannot be cut in "
                f"{parts} parts.",
                "Correct it with --map FILE.",
            )
        array = array[..., number * width : (number + 1) * width]
    # The same elements in the same order, with neighbouring axes merged or split.
    return array.reshape(wanted) if conforms(array.shape, wanted) else array


def _write(
    folder: Path,
    request: DumpRequest,
    case: SharedCase,
    arrays: dict[str, np.ndarray],
    found: Matched,
) -> None:
    unproved = (
        f"the candidate was imported from files of {request.tool}, not recorded: nothing proves "
        "which framework, device, weights and inputs they are of"
    )
    copy_case(case, folder / CASE, weights=False)
    manifest = CaptureManifest(
        identity=Identity(
            backend="imported",
            framework="imported",
            version=request.tool,
            device="unknown",
            dtype=request.dtype,
            mode="unknown",
            attention="unknown",
        ),
        load_report=LoadReport(0),
        weights={},
        inputs=dict(case.case.inputs),
        taps=tuple(arrays),
        unstable=(),
        floor={},
        seconds={},
        peak_memory_bytes=0,
        targets=dict(case.case.targets),
    )
    save_capture(folder / CAPTURE, manifest, arrays)
    seal(
        folder,
        Record(
            side="candidate",
            case=case.digest,
            backend="imported",
            dtype=request.dtype,
            gradients=False,
            own=False,
            origin="unknown",
            notices=(unproved, *found.notices),
            imported=request.tool,
        ),
    )

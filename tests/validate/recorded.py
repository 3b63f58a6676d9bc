"""Recorded sides made in NumPy alone, for what needs no framework."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mindport.migrate.porting import prepare
from mindport.validate.case import save_case
from mindport.validate.conclusion import left_behind
from mindport.validate.network import describe_network
from mindport.validate.recording import rounding
from mindport.validate.recording.record import CAPTURE, CASE, RECORD, Record, seal
from mindport.validate.recording.shared_case import (
    Origin,
    carry_weights,
    complete_case,
    weights_hashes,
)


def make_recorded(folder: Path, small, checkpoint, side, taps, *, weights=True, **fields):
    """Write a recorded side of a small network.

    Args:
        folder: The folder to make.
        small: The network.
        checkpoint: Its weights.
        side: Which side it is.
        taps: What came out.
        weights: Whether the weights are carried.
        fields: Of the record, that are not as usual.
    """
    case = small.case
    prepared = prepare(checkpoint, case.architecture, head=case.head, to="mindspore")
    save_case(folder / CASE, case, small.inputs)
    lost = tuple(sorted(left_behind(prepared)))
    origin = Origin("small", 0, False, weights_hashes(prepared), lost, ())
    made = complete_case(folder / CASE, prepared, origin)
    small.capture(folder / CAPTURE, taps, oracle=side == "reference")
    if weights:
        carry_weights(folder / CASE, prepared)
    elif side == "reference":
        network = describe_network(prepared, small.inputs, small.dtype)
        rounding.keep(folder / CAPTURE, tuple(taps), network, small.dtype)
    record = Record(side, made.digest, "mindspore", small.dtype, False, False, "small")
    seal(folder, replace(record, **fields))
    return folder


def reseal(folder: Path, **fields):
    """Write a record again, with hashes that are right."""
    content = json.loads((folder / RECORD).read_text())
    content.pop("schema")
    (folder / RECORD).unlink()
    seal(folder, Record(**{**content, "notices": tuple(content["notices"]), **fields}))

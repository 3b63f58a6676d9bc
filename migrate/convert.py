"""Carry a plan out tensor by tensor, read the result back, and publish it whole."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mindport.migrate.architecture import Kind
from mindport.migrate.checkpoints.locate import Checkpoint, open_checkpoint
from mindport.migrate.checkpoints.mindspore_ckpt import write_ckpt
from mindport.migrate.checkpoints.safetensors import storage_order, write_safetensors
from mindport.migrate.checkpoints.tensors import DTYPES, TensorReader
from mindport.migrate.entry import Entry, Read
from mindport.migrate.errors import CheckpointError, DestinationError, MindportError
from mindport.migrate.manifest import make_manifest
from mindport.migrate.plan import Plan

Progress = Callable[[str, int, int], None]
FORMATS = ("safetensors", "ckpt")


def convert_tensors(plan: Plan, reader: TensorReader) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the target's tensors in storage order, each checked for NaN and Inf.

    Args:
        plan: What goes where.
        reader: The source.

    Raises:
        CheckpointError: If a weight is not finite, overflows the target dtype, or a tied pair
            differs.
    """
    by_target = {e.target: e for e in plan.entries if e.action in ("ported", "generated")}
    ties: dict[str, list[Entry]] = {}
    for entry in plan.entries:
        if entry.action == "tied":
            ties.setdefault(entry.target, []).append(entry)
    for name in storage_order(plan.written):
        entry = by_target[name]
        if entry.action == "generated":
            yield name, initial_value(entry, plan.config)
            continue
        for tied in ties.get(name, ()):
            _check_tie(reader.read(entry.source), reader.read(tied.source), entry, tied)
        yield name, port_entry(entry, reader.read)


def port_entry(entry: Entry, read: Read) -> np.ndarray:
    """Return the target's array of a ported entry.

    Args:
        entry: What becomes of it.
        read: Returns a source's array by its name.

    Raises:
        CheckpointError: If a value is NaN or Inf, before or because of the cast.
    """

    def checked(name: str) -> np.ndarray:
        array = read(name)
        wide = array.astype(np.float32) if array.dtype.itemsize < 4 else array
        if not np.isfinite(wide).all():
            bad = int(array.size - np.isfinite(wide).sum())
            raise CheckpointError(
                f"{name} holds {bad} value{'s' * (bad > 1)} that are NaN or infinite.",
                "Such weights cannot be validated; find out where they come from (an overflow in "
                "half-precision training, a damaged file).",
            )
        return array

    array = entry.assemble(checked)
    if entry.cast is not None:
        array = entry.cast.apply(array)
        lost = int(array.size - np.isfinite(array.astype(np.float32)).sum())
        if lost:
            raise CheckpointError(
                f"{lost} value{'s' * (lost > 1)} of {' and '.join(entry.sources)} do not fit "
                f"{entry.target_dtype}.",
                "Keep the dtype, or choose bfloat16, which has the range of float32.",
            )
    return array


def _check_tie(array: np.ndarray, other: np.ndarray, entry: Entry, tied: Entry) -> None:
    if array.tobytes() != other.tobytes():
        raise CheckpointError(
            f"The config ties {tied.source} to {entry.source}, but their values differ.",
            'If they were trained apart, set "tie_word_embeddings": false in config.json.',
        )


def initial_value(entry: Entry, config: Mapping[str, Any]) -> np.ndarray:
    """Return what upstream gives a new parameter: N(0, initializer_range), ones or zeros.

    The draw depends on the parameter's name alone, so a port is reproducible.
    """
    dtype = DTYPES[entry.target_dtype].numpy
    if entry.kind is Kind.NORM_WEIGHT:
        return np.ones(entry.target_shape, dtype)
    if entry.kind in (Kind.BIAS, Kind.NORM_BIAS):
        return np.zeros(entry.target_shape, dtype)
    seed = int.from_bytes(hashlib.sha256(entry.target.encode()).digest()[:8], "little")
    scale = config["initializer_range"]
    return np.random.default_rng(seed).normal(0.0, scale, entry.target_shape).astype(dtype)


def write_checkpoint(
    plan: Plan,
    source: Checkpoint,
    destination: Path,
    config: Mapping[str, Any],
    *,
    file_format: str = "safetensors",
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> Path:
    """Write the ported checkpoint as a folder: weights, config, tokenizer files, manifest.

    The folder appears whole or not at all: it is written beside its place, read back and
    compared bit for bit with the source, and renamed.

    Args:
        plan: What goes where.
        source: The open source.
        destination: The folder to make.
        config: The contents of the source's ``config.json``.
        file_format: ``safetensors`` or, for MindSpore, ``ckpt``.
        force: Replace a folder that exists.
        progress: Called with (stage, done, total).

    Raises:
        DestinationError: If the folder exists or cannot be written.
        CheckpointError: If a tensor is not fit to be ported.
    """
    check_destination(destination, force)
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    except OSError as error:
        raise DestinationError(
            f"{destination} cannot be written: {error.strerror or error}.",
            "Choose a folder that you may write to.",
        ) from None
    try:
        weights = work / ("model.safetensors" if file_format == "safetensors" else "model.ckpt")
        tensors = _counted(convert_tensors(plan, source.reader), len(plan.written), progress)
        if file_format == "safetensors":
            write_safetensors(weights, tensors, plan.written, _metadata(plan))
        else:
            write_ckpt(weights, tensors, plan.written)
        verify_written(plan, source.reader, open_checkpoint(weights).reader, progress)
        _write_json(work / "config.json", target_config(plan, config))
        for file in source.tokenizer_files:
            shutil.copyfile(file, work / file.name)
        _write_json(work / "manifest.json", make_manifest(plan, source, work))
        publish(work, destination, force)
    except OSError as error:
        raise DestinationError(
            f"{destination} could not be written: {error.strerror or error}.",
            "Free some space or choose another folder; nothing was left behind.",
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return destination


def check_destination(destination: Path, force: bool) -> None:
    """Raise unless ``destination`` may be written to.

    Raises:
        DestinationError: If it exists and ``force`` is not set, or its parent does not exist.
    """
    if destination.exists() and not force:
        raise DestinationError(
            f"{destination} exists already.", "Choose another name, or replace it with --force."
        )
    if destination.exists() and not destination.is_dir():
        raise DestinationError(f"{destination} is a file; a folder is to be written there.")
    if not destination.parent.is_dir():
        raise DestinationError(
            f"There is no folder {destination.parent}.", "Make it, or choose another place."
        )


def target_config(plan: Plan, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the target: the source's, with the class of the head ported."""
    vocabulary = {} if plan.vocabulary is None else {"vocab_size": plan.vocabulary}
    return {
        **config,
        **vocabulary,
        "model_type": plan.architecture.name,
        "architectures": [plan.head.class_name],
    }


def verify_written(
    plan: Plan, source: TensorReader, written: TensorReader, progress: Progress
) -> None:
    """Compare what was written with the source, bit for bit (see :meth:`Entry.agrees`).

    Raises:
        MindportError: If anything differs: a fault of this tool or of the disk.
    """
    entries = [e for e in plan.entries if e.action == "ported"]
    for done, entry in enumerate(entries, 1):
        if not entry.agrees(source.read, written.read(entry.target)):
            made_of = " and ".join(entry.sources)
            raise MindportError(
                f"{entry.target} read back differs from {made_of}; nothing was published.",
                "The disk may be failing; if it happens again, please report it.",
            )
        progress("verify", done, len(entries))


def publish(work: Path, destination: Path, force: bool) -> None:
    """Make ``work`` appear as ``destination`` in one step, its data on disk before its name."""
    for file in work.iterdir():
        file.chmod(0o644)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    work.chmod(0o755)
    if force and destination.exists():
        retired = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}")
        destination.rename(retired)
        work.rename(destination)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        work.rename(destination)


def _metadata(plan: Plan) -> dict[str, str]:
    # transformers refuses a safetensors file without a "format" that it knows.
    return {
        "format": "pt" if plan.target.name == "torch" else "mindspore",
        "mindport.architecture": plan.architecture.name,
        "mindport.head": plan.head.name,
        "mindport.layout": plan.target.name,
    }


def _counted(
    tensors: Iterator[tuple[str, np.ndarray]], total: int, progress: Progress
) -> Iterator[tuple[str, np.ndarray]]:
    for done, item in enumerate(tensors, 1):
        yield item
        progress("write", done, total)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")

"""Make, read and check what is fed to both sides: ids, masks, segments, positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mindport.migrate.architecture import Architecture, Head
from mindport.migrate.errors import MindportError
from mindport.migrate.positions import longest_sequence, position_ids
from mindport.prompts import PromptTokenizer

Arrays = dict[str, np.ndarray]


def make_inputs(
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    *,
    batch: int,
    length: int,
    seed: int,
) -> Arrays:
    """Return random inputs with real padding and, where there are segments, both of them.

    The first row is full; the others end at a random place in their second half, so every batch
    above one has padding.

    Returns:
        int64 arrays of shape (batch, length), one per input of the head.
    """
    rng = np.random.default_rng(seed)
    pad = config.get("pad_token_id") or 0
    choices = np.setdiff1d(np.arange(config["vocab_size"]), [pad])
    lengths = rng.integers((length + 1) // 2, max(length, 2), batch)
    lengths[0] = length
    real = np.arange(length) < lengths[:, None]  # (batch, length)
    ids = np.where(real, rng.choice(choices, (batch, length)), pad)
    return _complete(head, ids, real, architecture, config)


def read_inputs(
    path: Path,
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    tokenizer_folder: Path,
) -> Arrays:
    """Read inputs from a file.

    Args:
        path: ``.npz`` or ``.safetensors`` with ``input_ids`` (batch, seq) and, if wanted,
            ``attention_mask``, ``token_type_ids`` and ``position_ids``; or ``.txt``, one text a
            line, tokenised with the checkpoint's tokenizer.
        architecture: What will run them.
        head: Its head.
        config: The resolved config.
        tokenizer_folder: Where the tokenizer lies.

    Raises:
        MindportError: If the file cannot be used; the message says why.
    """
    if not path.is_file():
        raise MindportError(f"There is no inputs file {path}.", "Give a file that exists.")
    if path.stat().st_size == 0:
        raise MindportError(f"The inputs file {path} is empty.", "Put at least one row into it.")
    if path.suffix == ".txt":
        return _from_text(path, architecture, head, config, tokenizer_folder)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
        elif path.suffix == ".safetensors":
            arrays = dict(load_file(str(path)))
        else:
            raise MindportError(
                f"The inputs file {path} has an unknown ending {path.suffix!r}.",
                "Known: .npz, .safetensors, .txt (one text a line).",
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise MindportError(f"The inputs file {path} cannot be read: {error}.") from None
    return _checked_arrays(path, arrays, architecture, head, config)


def _from_text(
    path: Path,
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
    tokenizer_folder: Path,
) -> Arrays:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise MindportError(f"The inputs file {path} is not UTF-8 text: {error}.") from None
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise MindportError(f"The inputs file {path} holds no text.", "Put one text on each line.")
    tokenizer = PromptTokenizer.from_folder(tokenizer_folder, vocab_size=config["vocab_size"])
    rows = [tokenizer.encode(text) for text in texts]
    if tokenizer.cls_id is not None and tokenizer.sep_id is not None:
        rows = [[tokenizer.cls_id, *row, tokenizer.sep_id] for row in rows]
    empty = [i for i, row in enumerate(rows, 1) if not row]
    if empty:
        raise MindportError(f"{path}: line {empty[0]} has no tokens.")
    width = max(map(len, rows))
    pad = config.get("pad_token_id") or 0
    ids = np.full((len(rows), width), pad, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    real = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    inputs = _complete(head, ids, real, architecture, config)
    check_inputs(inputs, architecture, config, str(path))
    return inputs


def _checked_arrays(
    path: Path,
    arrays: Arrays,
    architecture: Architecture,
    head: Head,
    config: Mapping[str, Any],
) -> Arrays:
    if "input_ids" not in arrays:
        raise MindportError(
            f"{path} holds no 'input_ids', but {', '.join(sorted(arrays)) or 'nothing'}.",
            "Store at least input_ids, whole numbers of shape (batch, seq).",
        )
    unknown = sorted(set(arrays) - set(head.inputs))
    if unknown:
        raise MindportError(
            f"{path}: {head.class_name} has no input {unknown[0]!r}.",
            f"Known: {', '.join(head.inputs)}.",
        )
    shape = arrays["input_ids"].shape
    for name, array in arrays.items():
        if array.dtype.kind not in "iub" or array.ndim != 2 or array.shape != shape:
            raise MindportError(
                f"{path}: {name!r} is {array.dtype} of shape {array.shape}; whole numbers of "
                "shape (batch, seq), the same for all, are needed."
            )
    if 0 in shape:
        raise MindportError(f"{path}: input_ids has shape {shape}, there is nothing to run.")
    given = {name: array.astype(np.int64) for name, array in arrays.items()}
    real = given.get("attention_mask", np.ones(shape, np.int64)) != 0
    inputs = _complete(head, given["input_ids"], real, architecture, config) | given
    check_inputs(inputs, architecture, config, str(path))
    return inputs


def _complete(
    head: Head,
    ids: np.ndarray,
    real: np.ndarray,
    architecture: Architecture,
    config: Mapping[str, Any],
) -> Arrays:
    length = ids.shape[1]
    arrays = {
        "input_ids": ids.astype(np.int64),
        "attention_mask": real.astype(np.int64),
        "position_ids": position_ids(architecture, config, ids),
    }
    if "token_type_ids" in head.inputs:
        # The second segment starts half-way through each row's real tokens.
        halves = (real.sum(axis=1, keepdims=True) + 1) // 2
        second = (np.arange(length) >= halves) & real
        arrays["token_type_ids"] = (second & (config.get("type_vocab_size", 1) > 1)).astype(
            np.int64
        )
    inputs = {name: arrays[name] for name in head.inputs}
    check_inputs(inputs, architecture, config, "the inputs")
    return inputs


def check_inputs(
    inputs: Mapping[str, np.ndarray],
    architecture: Architecture,
    config: Mapping[str, Any],
    origin: str,
) -> None:
    """Raise if an input leaves the range that the model's tables have.

    Raises:
        MindportError: For token ids, positions or segments out of range, or an unclear mask.
    """
    ids = inputs["input_ids"]
    longest = longest_sequence(architecture, config)
    if ids.shape[1] > longest:
        raise MindportError(
            f"{origin}: the sequences have {ids.shape[1]} tokens, but the model has {longest} "
            f"positions ({architecture.positions}).",
            f"Use at most --length {longest}, or cut the texts.",
        )
    limits = {
        "input_ids": ("vocab_size", config["vocab_size"]),
        "position_ids": (architecture.positions, config[architecture.positions]),
        "token_type_ids": ("type_vocab_size", config.get("type_vocab_size", 1)),
        "attention_mask": ("a mask of zeros and ones", 2),
    }
    for name, array in inputs.items():
        field, limit = limits[name]
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= limit:
            worst = low if low < 0 else high
            raise MindportError(
                f"{origin}: {name} holds {worst}, outside 0 to {limit - 1} ({field}).",
                "Check that the inputs were made for this checkpoint's vocabulary.",
            )
    if not inputs["attention_mask"].any(axis=1).all():
        raise MindportError(f"{origin}: a row of attention_mask is all zeros.")


def describe_inputs(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return what a verdict says of the inputs."""
    mask = inputs["attention_mask"]
    return {
        "batch": int(mask.shape[0]),
        "length": int(mask.shape[1]),
        "padded_positions": int(mask.size - np.count_nonzero(mask)),
        "names": sorted(inputs),
    }

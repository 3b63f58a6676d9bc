"""Dumps as other tools write them, made of a recorded candidate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from mindport.migrate.architecture import network_order
from mindport.migrate.architectures import load_architecture


def write_dumps(capture: Path, folder: Path) -> None:
    """Write ``dump/`` in the form of msprobe, ``saved/`` in that of TroubleShooter.

    Args:
        capture: A recorded side of a GPT-2 with the head ``lm``.
        folder: Where the dumps go, and ``map.yaml``, which says of one tap where it is.
    """
    taps = load_file(capture / "capture" / "taps.safetensors")
    _msprobe(folder / "dump" / "step0" / "rank0" / "dump_tensor_data", taps)
    saved = folder / "saved"
    saved.mkdir()
    for number, (name, values) in enumerate(taps.items()):  # ts.save numbers what it is given
        given = "scores_of_words" if name == "logits" else name
        np.save(saved / f"{number}_{given}.npy", values)
    (folder / "map.yaml").write_text("logits: scores_of_words\n")


def _msprobe(folder: Path, taps: dict[str, np.ndarray]) -> None:
    """Write inputs and outputs of modules, as msprobe names them at its level L0."""
    folder.mkdir(parents=True)
    head = load_architecture("gpt2").heads["lm"]
    layers = sum(name.count(".") == 1 for name in taps if name.startswith("block."))
    np.save(folder / f"Module.{head.projection}.Kind.forward.0.output.0.npy", taps["logits"])
    whole: dict[str, list] = {}
    for tap in network_order(head.taps, layers):
        if tap.module and tap.end in ("input", "output") and tap.name in taps:
            number, parts = tap.part
            path = f"{head.prefix if tap.in_body else ''}{tap.module}"
            key = f"Module.{path}.Kind.forward.0.{tap.end}.0"
            whole.setdefault(key, [None] * parts)[number] = taps[tap.name]
    for key, parts in whole.items():
        if all(part is not None for part in parts):
            np.save(folder / f"{key}.npy", np.concatenate(parts, -1))

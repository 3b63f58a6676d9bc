"""Write the seeds: small files as the frameworks write them, and as we do. Needs all frameworks.

``python -m tests.fuzz.make_corpus`` from the root of the repository.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mindspore
import ml_dtypes
import numpy as np
import safetensors.numpy
import torch

from mindport.migrate.checkpoints.formats import FORMATS
from mindport.migrate.checkpoints.layout import write_arrays
from mindport.migrate.checkpoints.tensors import DTYPES, TensorInfo

HERE = Path(__file__).parent / "corpus"


def main() -> None:
    """Write every seed."""
    every = {name: np.ones((1, 2), dtype.numpy) for name, dtype in DTYPES.items()}
    few = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array(2, np.int64),
        "é": np.array([1, 2], np.float16),
    }
    for name, entry in FORMATS.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        for kind, arrays in (("every", every), ("few", few)):
            infos = {n: TensorInfo(str(a.dtype), a.shape) for n, a in arrays.items()}
            layout = entry(infos, {"format": "pt"})
            write_arrays(folder / f"{kind}{entry.suffix}", layout, arrays.__getitem__)
    safetensors.numpy.save_file(few, HERE / "safetensors" / "library.safetensors")
    _mindspore(few)
    _torch()
    np.savez(HERE / "npz" / "numpy.npz", **few, brain=np.ones(2, ml_dtypes.bfloat16))
    np.savez_compressed(
        HERE / "npz" / "compressed.npz", zeros=np.zeros(500, np.float32),
        big=np.arange(3, dtype=">i4"), fortran=np.asfortranarray(few["a.weight"]),
    )  # fmt: skip
    _zip64(few)
    folder = HERE / "index"
    folder.mkdir(exist_ok=True)
    content = {"metadata": {"total_size": 0}, "weight_map": {f"s1.{n}": "s1" for n in "ab"}}
    content["weight_map"]["s2.a"] = "s2"
    (folder / "few.index.json").write_text(json.dumps(content))


def _mindspore(arrays: dict[str, np.ndarray]) -> None:
    items = [{"name": n, "data": mindspore.Tensor(a)} for n, a in arrays.items()]
    for kind in ("ckpt", "safetensors"):
        path = HERE / kind / f"mindspore.{kind}"
        mindspore.save_checkpoint(items, str(path), format=kind, crc_check=True)
        path.chmod(0o644)


def _zip64(arrays: dict[str, np.ndarray]) -> None:
    limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 16  # let a small file look like a large one
    try:
        np.savez(HERE / "npz" / "zip64.npz", **arrays)
    finally:
        zipfile.ZIP64_LIMIT = limit


def _torch() -> None:
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {"a": base, "t": base.T, "part": base[1:, ::2], "p": torch.nn.Parameter(base)}
    torch.save(tensors, HERE / "torch" / "views.pt")
    module = torch.nn.Linear(2, 2)
    torch.save({"epoch": 1, "state_dict": module.state_dict()}, HERE / "torch" / "wrapped.pt")
    torch.save({"h": torch.ones(2).half()}, HERE / "torch" / "protocol4.pt", pickle_protocol=4)


if __name__ == "__main__":
    main()

"""The formats that checkpoints are read from and written in: the place to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mindport.migrate.checkpoints.layout import Layout
from mindport.migrate.checkpoints.mindspore_ckpt import CkptReader, ckpt_layout
from mindport.migrate.checkpoints.npz import NpzReader, npz_layout
from mindport.migrate.checkpoints.safetensors import SafetensorsReader, safetensors_layout
from mindport.migrate.checkpoints.tensors import TensorInfo, TensorReader
from mindport.migrate.checkpoints.torch_layout import torch_layout
from mindport.migrate.checkpoints.torch_zip import TorchZipReader


@dataclass(frozen=True)
class Format:
    """A format of weights files; calling it lays a file out, as ``LayoutFormat`` has it.

    Attributes:
        name: What ``--format`` calls it, and the ``format`` of its readers.
        stem: What its files are called in a folder, without the ending.
        suffixes: The endings that it is read from; it is written with the first.
        reader: Opens a file.
        layout: Lays a file out.
    """

    name: str
    stem: str
    suffixes: tuple[str, ...]
    reader: Callable[[Path], TensorReader]
    layout: Callable[[Mapping[str, TensorInfo], Mapping[str, str]], Layout]

    def __call__(self, infos: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> Layout:
        """Return the layout of one file.

        Raises:
            CheckpointError: If the format cannot hold a tensor.
        """
        return self.layout(infos, metadata)

    @property
    def suffix(self) -> str:
        """The ending of its files."""
        return self.suffixes[0]

    @property
    def file_name(self) -> str:
        """What a single file is called in a folder, such as ``model.safetensors``."""
        return f"{self.stem}{self.suffix}"

    @property
    def index_name(self) -> str:
        """What the index of several files is called."""
        return f"{self.file_name}.index.json"

    def shard_names(self, count: int) -> list[str]:
        """Return what ``count`` files are called, such as ``model-00001-of-00003.safetensors``."""
        return [f"{self.stem}-{n:05}-of-{count:05}{self.suffix}" for n in range(1, count + 1)]


# In the order in which transformers prefers them; those that it does not know last.
FORMATS: Mapping[str, Format] = {
    entry.name: entry
    for entry in (
        Format("safetensors", "model", (".safetensors",), SafetensorsReader, safetensors_layout),
        Format("torch", "pytorch_model", (".bin", ".pth", ".pt"), TorchZipReader, torch_layout),
        Format("ckpt", "model", (".ckpt",), CkptReader, ckpt_layout),
        Format("npz", "model", (".npz",), NpzReader, npz_layout),
    )
}
BY_SUFFIX: Mapping[str, Format] = {
    suffix: entry for entry in FORMATS.values() for suffix in entry.suffixes
}
WEIGHT_FILES = tuple(
    name for entry in FORMATS.values() for name in (entry.file_name, entry.index_name)
)

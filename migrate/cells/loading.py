"""Load a checkpoint in MindSpore's layout into a network, and account for every parameter.

MindSpore's own ``load_param_into_net`` only warns about what is missing or too much, guesses
prefixes and casts; here names, shapes and dtypes are compared first, and it is then given exactly
what fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn

from mindport.migrate.errors import CheckpointError

FILES = ("model.safetensors", "model.ckpt")
FORMATS = {".safetensors": "safetensors", ".ckpt": "ckpt"}
TORCH_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json")


@dataclass(frozen=True)
class LoadReport:
    """What became of every parameter of a network and of a checkpoint.

    Attributes:
        loaded: Names of the parameters that now hold the checkpoint's values.
        missing: Parameters of the network that the checkpoint does not have.
        unexpected: Names in the checkpoint that the network does not have.
        mismatched: Name, shape in the checkpoint and shape in the network, where they differ.
        cast: Name, dtype in the checkpoint and dtype in the network, where they differ; these
            were loaded.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    cast: tuple[tuple[str, str, str], ...]

    @property
    def clean(self) -> bool:
        """Whether names and shapes of network and checkpoint are the same."""
        return not (self.missing or self.unexpected or self.mismatched)

    def problems(self) -> list[str]:
        """Return one line per kind of problem: how many there are, and which."""
        shapes = [f"{name} {ours} for {wanted}" for name, ours, wanted in self.mismatched]
        found = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", shapes),
        )
        return [f"{len(names)} {what}: {', '.join(names)}" for what, names in found if names]


def find_checkpoint(path: Path, architecture: str) -> Path:
    """Return the weights file that ``path`` is or holds.

    Args:
        path: A folder or a file.
        architecture: Named in the advice when the folder holds a torch checkpoint.

    Raises:
        CheckpointError: If there is none.
    """
    if path.is_file():
        if path.suffix not in FORMATS:
            raise CheckpointError(f"{path} is neither a .safetensors nor a .ckpt file.")
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    if not path.is_dir():
        raise CheckpointError(f"There is no checkpoint at {path}.")
    hint = ""
    if any((path / name).is_file() for name in TORCH_FILES):
        hint = f"It looks like a torch checkpoint: run `migrate {architecture} SRC DST` first."
    raise CheckpointError(f"{path} holds neither {' nor '.join(FILES)}.", hint)


def read_checkpoint(file: Path) -> dict[str, Parameter]:
    """Return the parameters of a file by name.

    Those of a safetensors file are mapped from it: copy them before the file may change.

    Raises:
        CheckpointError: If MindSpore cannot read it.
    """
    try:
        return dict(mindspore.load_checkpoint(str(file), format=FORMATS[file.suffix]))
    except (ValueError, RuntimeError, OSError, TypeError) as error:
        raise CheckpointError(f"{file} cannot be read: {str(error).strip()}") from None


def common_dtype(stored: Mapping[str, Parameter]) -> mindspore.dtype.Type:
    """Return the dtype that all these parameters have, or float32 if they differ."""
    dtypes = {parameter.dtype for parameter in stored.values()}
    return dtypes.pop() if len(dtypes) == 1 else mindspore.float32


def load_parameters(cell: nn.Cell, path: str | Path) -> LoadReport:
    """Copy the parameters of a checkpoint that fit into a network, and report on all.

    Args:
        cell: The network; keeps its dtypes, and its values where the checkpoint has none.
        path: A ``.safetensors`` or ``.ckpt`` file in MindSpore's layout.

    Raises:
        CheckpointError: If the file cannot be read.
    """
    return copy_parameters(cell, read_checkpoint(Path(path)))


def copy_parameters(cell: nn.Cell, stored: Mapping[str, Parameter]) -> LoadReport:
    """Copy the parameters that fit into a network, and report on all.

    Args:
        cell: The network; keeps its dtypes, and its values where there are no others.
        stored: Parameters by name, as :func:`read_checkpoint` returns them.
    """
    wanted = {parameter.name: parameter for parameter in cell.get_parameters()}
    loaded, mismatched, cast = {}, [], []
    for name, parameter in wanted.items():
        if name not in stored:
            continue
        source = stored[name]
        if source.shape != parameter.shape:
            mismatched.append((name, tuple(source.shape), tuple(parameter.shape)))
            continue
        # A copy: what MindSpore reads from a safetensors file is the file itself.
        value = Tensor(np.array(source.asnumpy()))
        if source.dtype != parameter.dtype:
            cast.append((name, _word(source.dtype), _word(parameter.dtype)))
            value = value.astype(parameter.dtype)
        loaded[name] = Parameter(value, name=name)
    report = LoadReport(
        loaded=tuple(loaded),
        missing=tuple(name for name in wanted if name not in stored),
        unexpected=tuple(name for name in stored if name not in wanted),
        mismatched=tuple(mismatched),
        cast=tuple(cast),
    )
    skipped = [name for name in wanted if name not in loaded]
    left = (
        mindspore.load_param_into_net(cell, loaded, strict_load=True) if loaded else (skipped, [])
    )
    if (sorted(left[0]), list(left[1])) != (sorted(skipped), []):
        raise CheckpointError(f"MindSpore did not load what it was given, but for {left}.")
    return report


def require_clean(report: LoadReport, file: Path, architecture: str) -> None:
    """Raise if a checkpoint did not fit.

    Raises:
        CheckpointError: With every missing, unexpected and mis-shaped parameter.
    """
    if report.clean:
        return
    ours = {name.rpartition(".")[0] for name in report.missing}
    torch_layout = any(
        name.endswith(".weight") and name.rpartition(".")[0] in ours for name in report.unexpected
    )
    raise CheckpointError(
        f"{file} does not fit the network: " + "; ".join(report.problems()) + ".",
        f"It is in torch's layout: run `migrate {architecture} SRC DST` first."
        if torch_layout
        else "Take the class that the checkpoint was made for, or load with strict=False.",
    )


def _word(dtype: mindspore.dtype.Type) -> str:
    return str(dtype).lower()

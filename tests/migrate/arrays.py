"""Small tensors, written through a layout and held against what a reader says."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from mindport.migrate.checkpoints.formats import BY_SUFFIX
from mindport.migrate.checkpoints.layout import write_arrays
from mindport.migrate.checkpoints.tensors import TensorInfo

TENSORS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.arange(5, dtype=np.int64),
    "scalar": np.array(2.5, dtype=np.float64),
    "half": np.array([[1.5, -2]], dtype=np.float16),
    "brain": np.array([1, 2, 3], dtype=ml_dtypes.bfloat16),
    "flag": np.array([True, False]),
    "nothing": np.zeros((0, 3), np.float32),
}


def infos_of(tensors):
    return {n: TensorInfo(str(a.dtype), a.shape) for n, a in tensors.items()}


def write(path, tensors):
    layout = BY_SUFFIX[path.suffix](infos_of(tensors), {"format": "pt"})
    write_arrays(path, layout, tensors.__getitem__)
    assert path.stat().st_size == layout.size
    return path


def assert_holds(reader, tensors):
    """The tensors are these, by reading them and by looking where the reader says they lie."""
    assert set(reader.infos) == set(tensors)
    for name, array in tensors.items():
        read = reader.read(name)
        assert reader.infos[name] == TensorInfo(str(array.dtype), array.shape)
        assert (read.dtype, read.shape) == (array.dtype, array.shape), name
        assert read.tobytes() == array.tobytes(), name
        spans = reader.spans(name)
        if spans is not None:
            assert b"".join(map(bytes_of, spans)) == array.tobytes(), name


def bytes_of(span):
    with span.path.open("rb") as file:
        file.seek(span.offset)
        return file.read(span.size)

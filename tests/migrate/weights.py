"""Look at the tensors of a checkpoint, and at whether two have the same."""

from __future__ import annotations

from mindport.migrate.checkpoints.locate import open_checkpoint


def arrays_of(path):
    reader = open_checkpoint(path).reader
    return {name: reader.read(name) for name in reader.infos}


def assert_same(a, b):
    assert set(a) == set(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name

"""Files that must be refused."""

from __future__ import annotations

import tracemalloc

import pytest

from mindport.migrate.checkpoints.locate import open_checkpoint
from mindport.migrate.errors import CheckpointError


def read_all(path):
    reader = open_checkpoint(path).reader
    for name in reader.infos:
        reader.read(name)


def refused(path, match):
    """The file is refused with a message fit for a screen, at the price of little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=match) as error:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.value.message.isprintable()
    assert str(path) in error.value.message
    assert len(error.value.message) < len(str(path)) + 500
    assert peak < 16 * path.stat().st_size + (4 << 20)
    return error.value

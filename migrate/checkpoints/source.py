"""A file that is read piece by piece, and may be cut off or replaced while it is."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mindport.migrate.checkpoints.tensors import DTYPES, Span, TensorInfo
from mindport.migrate.errors import CheckpointError

_BLOCK = 1 << 20


class SourceFile:
    """A regular file as it was when it was opened; symbolic links are followed.

    It is opened anew for each read, so that thousands of shards need no thousands of handles.

    Args:
        path: The file.

    Attributes:
        path: The file.
        size: Its size in bytes.

    Raises:
        CheckpointError: If it cannot be opened or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._identity: tuple[int, ...] | None = None
        with self._open() as file:
            status = os.fstat(file.fileno())
        self.size = status.st_size
        self._identity = _identity(status)

    def _open(self) -> BinaryIO:
        try:
            # A pipe would block for ever when opened to be read.
            file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb")
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be read: {error.strerror or error}."
            ) from None
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            file.close()
            raise CheckpointError(f"{self.path} is not a regular file.")
        if self._identity not in (None, _identity(status)):
            file.close()
            raise self._changed()
        return file

    def _changed(self) -> CheckpointError:
        return CheckpointError(
            f"{self.path} was changed while it was being read.",
            "Wait until it is written to its end, then start again.",
        )

    def read(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes.

        Raises:
            CheckpointError: If the file is no longer what it was.
        """
        with self._open() as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise self._changed()
        return data

    def crc32(self, start: int, stop: int, crc: int = 0) -> int:
        """Return the CRC-32 of a part of the file, continued from ``crc``.

        Raises:
            CheckpointError: If the file is no longer what it was.
        """
        for offset in range(start, stop, _BLOCK):
            crc = zlib.crc32(self.read(offset, min(_BLOCK, stop - offset)), crc)
        return crc

    def read_tensor(self, spans: Sequence[Span], info: TensorInfo) -> np.ndarray:
        """Return the tensor whose bytes lie in ``spans``.

        Raises:
            CheckpointError: If the file is no longer what it was.
        """
        data = np.empty(info.nbytes, np.uint8)
        view = data.data
        filled = 0
        with self._open() as file:
            for span in spans:
                file.seek(span.offset)
                if file.readinto(view[filled : filled + span.size]) != span.size:  # type: ignore[attr-defined]
                    raise self._changed()
                filled += span.size
        return np.ndarray(info.shape, DTYPES[info.dtype].numpy, buffer=data)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

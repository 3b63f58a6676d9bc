"""Protobuf's wire format, as far as MindSpore's checkpoints use it.

https://protobuf.dev/programming-guides/encoding describes it. A message is a sequence of fields;
each is a key, ``number << 3 | wire type``, and a value. Of the wire types only 0 (a varint) and 2
(a length and that many bytes) occur in checkpoints; all others are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.errors import CheckpointError

_VARINT, _BYTES = 0, 2
_VARINT_BYTES = 10  # of 64 bits, seven at a time
_BLOCK = 64 << 10


def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def bytes_head(number: int, size: int) -> bytes:
    """Encode what stands before the bytes of field ``number``."""
    return varint(number << 3 | _BYTES) + varint(size)


def varint_field(number: int, value: int) -> bytes:
    """Encode field ``number`` as a varint."""
    return varint(number << 3 | _VARINT) + varint(value)


class Scanner:
    """Walks fields by their offsets, so that no tensor is read.

    Args:
        source: The file.
    """

    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self._block, self._block_start = b"", 0

    def error(self, offset: int) -> CheckpointError:
        """Return what to raise for nonsense at ``offset``."""
        return CheckpointError(
            f"{self._source.path} is not a whole MindSpore checkpoint (nonsense at byte {offset}).",
            "It may be cut off, encrypted, or another kind of file.",
        )

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number, start, end) of each field's value in a message.

        Raises:
            CheckpointError: If a field reaches beyond the message or is of another wire type.
        """
        offset = start
        while offset < end:
            key, value = self._varint_at(offset, end)
            number, wire = key >> 3, key & 7
            if wire == _BYTES:
                size, value = self._varint_at(value, end)
                stop = value + size
            elif wire == _VARINT:
                stop = self._varint_at(value, end)[1]
            else:
                raise self.error(offset)
            if number == 0 or stop > end:
                raise self.error(offset)
            yield number, value, stop
            offset = stop

    def numbers(self, start: int, end: int) -> Iterator[int]:
        """Yield varints: a single one, or several that are packed."""
        while start < end:
            number, start = self._varint_at(start, end)
            yield number

    def text(self, start: int, end: int, most: int) -> str:
        """Return a text of at most ``most`` bytes.

        Raises:
            CheckpointError: If it is longer or not UTF-8.
        """
        if end - start > most:
            raise self.error(start)
        try:
            return self._bytes(start, end - start).decode()
        except UnicodeDecodeError:
            raise self.error(start) from None

    def _varint_at(self, offset: int, end: int) -> tuple[int, int]:
        number = 0
        for i, byte in enumerate(self._bytes(offset, min(_VARINT_BYTES, end - offset))):
            number |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if number >= 1 << 64:
                    break
                return number, offset + i + 1
        raise self.error(offset)

    def _bytes(self, offset: int, size: int) -> bytes:
        at = offset - self._block_start
        if at < 0 or at + size > len(self._block):
            reach = min(max(_BLOCK, size), self._source.size - offset)
            self._block, self._block_start, at = self._source.read(offset, reach), offset, 0
        return self._block[at : at + size]

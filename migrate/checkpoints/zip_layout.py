"""Lay out a zip archive of stored members, as ``torch.save`` and ``numpy.savez`` write them.

Each checksum follows its data, so an archive can be written in one pass. The content of each
member starts on a multiple of 64 bytes, as torch has it, so that it can be mapped.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from mindport.migrate.checkpoints.layout import Checksum, Data, Fixed, Layout, Segment

ALIGNMENT = 64
_UTF8_AND_DESCRIPTOR = 1 << 11 | 1 << 3
_NEW_YEAR_1980 = 1 << 5 | 1  # the earliest date that the format knows
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PADDING = 0x4246  # the extra field in which torch stores padding


class ZipLayout:
    """An archive that grows member by member."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._size = 0
        self._directory: list[Segment] = []
        self._count = 0

    def _append(self, *segments: Segment) -> None:
        self._segments.extend(segments)
        self._size += sum(segment.size for segment in segments)

    def add(self, name: str, content: Sequence[Fixed | Data]) -> None:
        """Append a member."""
        size = sum(segment.size for segment in content)
        encoded = name.encode()
        header = self._size
        # Four bytes hold less than 2^32 - 1, which itself says: look into the extra field.
        wide = size >= _FULL_32
        extra = struct.pack("<2H2Q", 1, 16, size, size) if wide else b""
        before = header + 30 + len(encoded) + len(extra) + 4
        padding = -before % ALIGNMENT
        extra += struct.pack("<2H", _PADDING, padding) + b"Z" * padding
        short = _FULL_32 if wide else size
        local = struct.pack(
            "<4s5H3I2H", b"PK\3\4", 45 if wide else 20, _UTF8_AND_DESCRIPTOR, 0, 0,
            _NEW_YEAR_1980, 0, short, short, len(encoded), len(extra),
        )  # fmt: skip
        self._append(Fixed(local + encoded + extra))
        start = self._size
        self._append(*content)
        crc = Checksum(4, start, self._size, _little)
        sizes = struct.pack("<2Q" if wide else "<2I", size, size)
        self._append(Fixed(b"PK\7\10"), crc, Fixed(sizes))
        self._enter(encoded, size, header, crc)

    def _enter(self, name: bytes, size: int, header: int, crc: Checksum) -> None:
        wide = [number for number in (size, size, header) if number >= _FULL_32]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = 45 if wide else 20
        short = min(size, _FULL_32)
        before = struct.pack(
            "<4s6H", b"PK\1\2", version, version, _UTF8_AND_DESCRIPTOR, 0, 0, _NEW_YEAR_1980
        )
        after = struct.pack(
            "<2I5H2I", short, short, len(name), len(extra), 0, 0, 0, 0, min(header, _FULL_32)
        )
        self._directory += [Fixed(before), crc, Fixed(after + name + extra)]
        self._count += 1

    def finish(self) -> Layout:
        """Return the archive, its directory at the end."""
        start = self._size
        self._append(*self._directory)
        size, count = self._size - start, self._count
        end = b""
        if count >= _FULL_16 or self._size >= _FULL_32:
            end = struct.pack(
                "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start
            ) + struct.pack("<4sIQI", b"PK\6\7", 0, self._size, 1)
        shown = min(count, _FULL_16)
        end += struct.pack(
            "<4s4H2IH", b"PK\5\6", 0, 0, shown, shown, min(size, _FULL_32), min(start, _FULL_32), 0
        )
        self._append(Fixed(end))
        return Layout(tuple(self._segments))


def _little(crc: int) -> bytes:
    return crc.to_bytes(4, "little")

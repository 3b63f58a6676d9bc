"""Read a zip archive that is not trusted: one disk, stored or deflated members, no surprises.

``zipfile`` takes more than we want: members that overlap or bear the same name, data before the
archive, a directory of any size; and it does not say where a member's data lie. The format:
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mindport.migrate.checkpoints.limits import MAX_HEADER_BYTES, MAX_TENSORS, show
from mindport.migrate.checkpoints.source import SourceFile
from mindport.migrate.errors import CheckpointError

MAX_INFLATED_BYTES = 256 << 20
"""What the compressed members of a file may unpack to together …"""
MAX_INFLATED_RATIO = 16
"""… or this many times the size of the file. Weights shrink by a tenth or two."""

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_STORED, _DEFLATED = 0, 8
# Data descriptor, UTF-8 names, and two bits that tell how hard a deflater tried.
_UTF8 = 1 << 11
_HARMLESS_FLAGS = 1 << 3 | _UTF8 | 0b110
_NEWEST = 63  # version 6.3 of the format, of 2006
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_BLOCK = 1 << 20
_SLACK = 64  # a deflated block can be a little longer than its content


@dataclass(frozen=True)
class Member:
    """A file in an archive, as the directory at its end describes it.

    Attributes:
        name: Its name; never used as a path.
        header: The offset of its local header.
        limit: The offset at which something else begins.
        packed: Its size in the archive.
        size: Its size unpacked.
        crc: The CRC-32 of its content.
        deflated: Whether it is compressed.
    """

    name: str
    header: int
    limit: int
    packed: int
    size: int
    crc: int
    deflated: bool


class ZipArchive:
    """The members of an archive by name; no content is read before it is asked for.

    Args:
        source: The file.
        zero_is_none: Whether a checksum of 0 says that none was computed, as it does after
            ``torch.serialization.set_crc32_options(False)``.

    Attributes:
        members: Name to member, in the order of the data.

    Raises:
        CheckpointError: If it is cut off, damaged, encrypted or made to do harm.
    """

    def __init__(self, source: SourceFile, *, zero_is_none: bool = False) -> None:
        self.source = source
        self._zero_is_none = zero_is_none
        start, size, count = self._find_directory()
        found = sorted(self._entries(source.read(start, size), count), key=lambda m: m.header)
        self.members: dict[str, Member] = {}
        for i, member in enumerate(found):
            limit = found[i + 1].header if i + 1 < len(found) else start
            if member.name in self.members:
                raise self.damaged(f"two members are called {show(member.name)}")
            least = member.header + _LOCAL.size + len(member.name.encode()) + member.packed
            if least > limit:
                raise self.damaged(f"{show(member.name)} overlaps what follows it")
            self.members[member.name] = replace(member, limit=limit)
        inflated = sum(m.size for m in found if m.deflated)
        if inflated > max(MAX_INFLATED_BYTES, MAX_INFLATED_RATIO * source.size):
            raise CheckpointError(
                f"{source.path} would unpack to {inflated} bytes, over {MAX_INFLATED_RATIO} times "
                "its size.",
                "If that is meant, save it again without compression.",
            )

    def damaged(self, reason: str) -> CheckpointError:
        """Return what to raise for an archive that is not whole."""
        return CheckpointError(
            f"{self.source.path} is not a whole zip archive: {reason}.",
            "Fetch or write the file again; it may have been cut off on the way.",
        )

    def _find_directory(self) -> tuple[int, int, int]:
        """Return the directory's offset, its size, and the number of its entries."""
        size = self.source.size
        tail_start = max(0, size - _END.size - _FULL_16)
        tail = self.source.read(tail_start, size - tail_start)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise self.damaged("its end is missing")
        _, disk, first, here, count, length, start, comment = _END.unpack_from(tail, at)
        end = tail_start + at
        if (disk, first) not in ((0, 0), (_FULL_16, _FULL_16)) or end + _END.size + comment != size:
            raise self.damaged("its end is nonsense")
        locator = end - _LOCATOR.size
        if locator >= 0 and self.source.read(locator, 4) == b"PK\6\7":
            _, disk, end, disks = _LOCATOR.unpack(self.source.read(locator, _LOCATOR.size))
            if end != locator - _END_64.size or disk or disks > 1:
                raise self.damaged("its end is not where it says")
            fields = _END_64.unpack(self.source.read(end, _END_64.size))
            if fields[0] != b"PK\6\6" or fields[4:6] != (0, 0):
                raise self.damaged("its end is nonsense")
            here, count, length, start = fields[6:]
        if start + length != end or here != count:
            raise self.damaged("its directory is not where it says")
        if length > MAX_HEADER_BYTES or count > MAX_TENSORS:
            raise self.damaged(f"its directory has {length} bytes and {count} entries, too many")
        return start, length, count

    def _entries(self, directory: bytes, count: int) -> Iterator[Member]:
        at = 0
        for _ in range(count):
            if len(directory) - at < _ENTRY.size:
                raise self.damaged("its directory is cut off")
            (
                signature, _, needed, flags, method, _, _, crc, packed, size, name_size, extra_size,
                comment_size, disk, _, _, header,
            ) = _ENTRY.unpack_from(directory, at)  # fmt: skip
            name_at = at + _ENTRY.size
            extra_at = name_at + name_size
            at = extra_at + extra_size + comment_size
            if signature != b"PK\1\2" or at > len(directory):
                raise self.damaged("its directory is nonsense")
            try:
                name = directory[name_at:extra_at].decode("utf-8" if flags & _UTF8 else "ascii")
            except UnicodeDecodeError:
                raise self.damaged("the name of a member is not text") from None
            rare = flags & ~_HARMLESS_FLAGS or needed & 0xFF > _NEWEST
            if rare or disk or method not in (_STORED, _DEFLATED):
                raise self.damaged(f"{show(name)} is encrypted or packed in a rare way")
            extra = directory[extra_at : extra_at + extra_size]
            size, packed, header = self._wide(extra, (size, packed, header), name)
            if method == _STORED and size != packed:
                raise self.damaged(f"{show(name)} has two sizes")
            yield Member(name, header, 0, packed, size, crc, method == _DEFLATED)
        if at != len(directory):
            raise self.damaged("its directory is longer than its entries")

    def _wide(self, extra: bytes, numbers: tuple[int, int, int], name: str) -> list[int]:
        """Return the numbers, those of 64 bits taken from the extra field."""
        wanted = sum(number == _FULL_32 for number in numbers)
        at = 0
        while wanted and at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1 and 8 * wanted <= length <= len(extra) - at - 4:
                wide = iter(struct.unpack_from(f"<{wanted}Q", extra, at + 4))
                return [next(wide) if number == _FULL_32 else number for number in numbers]
            at += 4 + length
        if wanted:
            raise self.damaged(f"the size of {show(name)} is missing")
        return list(numbers)

    def data_offset(self, member: Member) -> int:
        """Return where a member's data start, from its local header.

        Raises:
            CheckpointError: If that header does not agree with the directory.
        """
        name = member.name.encode()
        if member.header + _LOCAL.size + len(name) > member.limit:
            raise self.damaged(f"{show(member.name)} overlaps what follows it")
        head = self.source.read(member.header, _LOCAL.size + len(name))
        signature, _, flags, method, _, _, _, _, _, name_size, extra = _LOCAL.unpack_from(head)
        offset: int = member.header + _LOCAL.size + name_size + extra
        if (
            (signature, head[_LOCAL.size :]) != (b"PK\3\4", name)
            or (flags & ~_HARMLESS_FLAGS, name_size) != (0, len(name))
            or not (name.isascii() or flags & _UTF8)
            or method != (_DEFLATED if member.deflated else _STORED)
            or offset + member.packed > member.limit
        ):
            raise self.damaged(f"{show(member.name)} is not where its directory says")
        return offset

    def read(self, member: Member) -> bytes:
        """Return a member's content, unpacked and checked.

        Raises:
            CheckpointError: If it is damaged.
        """
        return b"".join(self.blocks(member))

    def start(self, member: Member, most: int) -> bytes:
        """Return the first bytes of a member's content, not checked; ``most`` at most.

        Raises:
            CheckpointError: If it cannot be unpacked.
        """
        packed = self.source.read(self.data_offset(member), min(member.packed, most + _SLACK))
        if not member.deflated:
            return packed[:most]
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
        except zlib.error:
            raise self.damaged(f"{show(member.name)} cannot be unpacked") from None

    def blocks(self, member: Member) -> Iterator[bytes]:
        """Yield a member's content in pieces of 1 MiB at most, then check it.

        Raises:
            CheckpointError: If it is damaged.
        """
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        crc, size = 0, 0
        for data in self._packed(member):
            while True:
                try:
                    block = inflater.decompress(data, _BLOCK) if member.deflated else data
                except zlib.error:
                    raise self.damaged(f"{show(member.name)} cannot be unpacked") from None
                crc, size = zlib.crc32(block, crc), size + len(block)
                if size > member.size:
                    raise self.damaged(f"{show(member.name)} is longer than it says")
                yield block
                data = inflater.unconsumed_tail
                if (not data and len(block) < _BLOCK) or not member.deflated:
                    break
        if size != member.size:
            raise self.damaged(f"{show(member.name)} is shorter than it says")
        self.check(member, crc)

    def check(self, member: Member, crc: int) -> None:
        """Raise unless ``crc`` is that of a member's content.

        Raises:
            CheckpointError: If it is not.
        """
        if member.crc != crc and not (self._zero_is_none and member.crc == 0):
            raise self.damaged(f"the data of {show(member.name)} do not match their checksum")

    def verify(self) -> None:
        """Read all members and compare them with their checksums.

        Raises:
            CheckpointError: If one does not match.
        """
        for member in self.members.values():
            for _ in self.blocks(member):
                pass

    def _packed(self, member: Member) -> Iterator[bytes]:
        start = self.data_offset(member)
        for offset in range(start, start + member.packed, _BLOCK):
            yield self.source.read(offset, min(_BLOCK, start + member.packed - offset))

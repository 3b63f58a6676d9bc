"""Change a file where it hurts: its bytes, and the structures that its format is made of."""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import warnings
import zipfile
from itertools import pairwise

from mindport.migrate.checkpoints.protobuf import bytes_head, varint, varint_field

NUMBERS = [
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 4095, 65535, 65536,
    2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64,
]  # fmt: skip
TEXTS = [
    "", "\0", "\x1b[31m", "..", "../x", "/etc/passwd", "a\nb", "\ud800", "\u202e", "x" * 5000,
    "__metadata__", "format", "crc_num", "ms", "F32", "BF16", "F8_E4M3", "BOOL", "nan",
]  # fmt: skip
NAN = float("nan")


def mutate(target: str, data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return ``data`` changed in one to four places.

    Args:
        target: What reads it.
        data: A seed, or what a seed has become.
        others: All seeds of this target.
        rng: Where chance comes from.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        change = rng.choice((_bytes, STRUCTURES.get(target, _bytes)))
        try:
            data = change(data, others, rng)
        except Exception:  # of any kind, from parsers that expect whole files
            data = _bytes(data, others, rng)  # it has that structure no longer
        if len(data) > 1 << 16:
            data = data[: 1 << 16]
    return data


def _bytes(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    if rng.random() < 0.5:
        end = min(len(data), at + rng.choice((1, 2, 4, 8)))
    match rng.randrange(7):
        case 0:
            return data[:at] + data[end:]
        case 1:
            return data[:at]
        case 2:
            return data[:end] + data[at:end] * rng.choice((1, 2, 50)) + data[end:]
        case 3:
            other = rng.choice(others)
            return data[:at] + other[rng.randrange(len(other) + 1) :]
        case 4:
            size = rng.choice((1, 2, 4, 8))
            number = (rng.choice((*NUMBERS, len(data))) + rng.choice((-1, 0, 1))) % 256**size
            return data[:at] + number.to_bytes(size, "little") + data[at + size :]
        case 5:
            return data[:at] + rng.randbytes(end - at) + data[end:]
        case _:
            flipped = bytes([data[at] ^ 1 << rng.randrange(8)]) if at < len(data) else b"\0"
            return data[:at] + flipped + data[at + 1 :]


def _safetensors(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    content, rest = data[8 : 8 + length], data[8 + length :]
    content = _json(content, others, rng)
    if rng.random() < 0.2:
        rest = _bytes(rest, others, rng)
    length = rng.choice((*NUMBERS, len(data))) if rng.random() < 0.05 else len(content)
    return (length % 2**64).to_bytes(8, "little") + content + rest


def _json(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    tree = json.loads(data)
    if rng.random() < 0.1:  # say a thing twice
        text = json.dumps(tree)
        inner = text.strip()[1:-1]
        return f"{{{inner},{inner}}}".encode()
    place, key = tree, rng.choice(list(tree))
    while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
        place = place[key]
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
    value = rng.choice((*NUMBERS, *TEXTS, None, True, 1.5, NAN, [], {}, [[]], -1, {"a": {}}))
    match rng.randrange(5):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[rng.choice(TEXTS)] = place[key]
        case 2 if isinstance(place, list):
            place.append(value)
        case 3 if isinstance(place[key], int):
            place[key] += rng.choice((-8, -4, -1, 1, 4, 8))
        case _:
            place[key] = value
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")


def _parse_fields(data: bytes) -> list[tuple[int, int | bytes]]:
    fields, at = [], 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            fields.append((key >> 3, number()))
        elif key & 7 == 2:
            size = number()
            fields.append((key >> 3, data[at : at + size]))
            at += size
        else:
            raise ValueError("a wire type that checkpoints do not have")
    return fields


def _protobuf(data: bytes, others: list[bytes], rng: random.Random, depth: int = 0) -> bytes:
    end = data[-17:] if data[-17:-10] == b"crc_num" else b""
    fields = _parse_fields(data[: len(data) - len(end)])
    i = rng.randrange(len(fields))
    number, value = fields[i]
    if isinstance(value, bytes) and depth < 2 and rng.random() < 0.8:
        fields[i] = (number, _protobuf(value, others, rng, depth + 1))
    else:
        match rng.randrange(6):
            case 0:
                del fields[i]
            case 1:
                fields.insert(rng.randrange(len(fields) + 1), fields[i])
            case 2:
                rng.shuffle(fields)
            case 3:
                fields[i] = (rng.choice((1, 2, 3, 4, 0, 2**28)), value)
            case 4:
                fields[i] = (number, rng.choice(NUMBERS) % 2**64)
            case _:
                text = rng.choice((*TEXTS, "Float32", "BFloat16", "str", "Bool"))
                packed = b"".join(varint(rng.choice(NUMBERS)) for _ in range(rng.randrange(50)))
                fields[i] = (
                    number, rng.choice((text.encode(errors="surrogatepass"), packed)),
                )  # fmt: skip
    encoded = b"".join(
        bytes_head(n, len(v)) + v if isinstance(v, bytes) else varint_field(n, v) for n, v in fields
    )
    if rng.random() < 0.05:  # groups, fixed numbers, a varint that is longer than it need be
        encoded += rng.choice((b"\x0b\x0c", b"\x0d" * 5, b"\x08" + b"\x80" * 9 + b"\1", b"\x0a\0"))
    return encoded + end


NASTY = [
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nComplexFloatStorage\n", b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f", b"(" * 500,
    b"\x85" * 500, b"J\xff\xff\xff\xff", b"\x8a\xff" + b"\x7f" * 255, b"\x8b\xff\xff\xff\x7f",
    b"\x8e" + b"\xff" * 8, b"\x8d" + b"\xff" * 8, b"\x95" + b"\xff" * 8, b"G\x7f\xf8" + bytes(6),
    b"I01\n", b"L99999999999999999999999L\n", b"S'x'\n", b"Vx\n", b"X\1\0\0\0x", b"\x82\1",
    b"K\0", b"K\xff", b"q\0", b"h\0",
    *(bytes([opcode]) for opcode in b"RbQo\x81\x92\x93021ld\x8f\x90}])tuseaN\x88\x94\x97"),
]  # fmt: skip


def _pickle(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    starts = [position for _, _, position in pickletools.genops(data)] + [len(data)]
    pieces = [data[a:b] for a, b in pairwise(starts)]
    i = rng.randrange(len(pieces))
    match rng.randrange(6):
        case 0:
            del pieces[i]
        case 1:
            pieces.insert(i, rng.choice(NASTY))
        case 2:
            pieces[i] = rng.choice(NASTY)
        case 3:
            pieces.insert(rng.randrange(len(pieces)), pieces[i])
        case 4:
            j = rng.randrange(len(pieces))
            pieces[i], pieces[j] = pieces[j], pieces[i]
        case _:
            number = rng.choice(NUMBERS)
            pieces[i] = b"\x8a\x0a" + number.to_bytes(10, "little")
    return b"".join(pieces)


def _npy(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    match rng.randrange(4):
        case 0:
            codes = [
                b"'>f4'",
                b"'|O'",
                b"'<V2'",
                b"'<f8'",
                b"'|b1'",
                b"[('a','<f4')]",
                b"'<c8'",
                b"'>i2'",
            ]
            return re.sub(rb"'[<>|][a-zA-Z]\d'", rng.choice(codes), data, count=1)
        case 1:
            shape = ",".join(str(rng.choice(NUMBERS)) for _ in range(rng.choice((0, 1, 2, 40))))
            return re.sub(rb"\([\d, ]*\)", f"({shape})".encode(), data, count=1)
        case 2:
            return data.replace(b"False", rng.choice((b"True", b"False", b"1")), 1)
        case _:
            return _bytes(data, others, rng)


def _zip(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    if rng.random() < 0.3:  # the directory alone
        at = data.rfind(b"PK\1\2")
        return data[:at] + _bytes(data[at:], others, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    i = rng.randrange(len(members))
    name, content = members[i]
    method = zipfile.ZIP_STORED
    match rng.randrange(8):
        case 0:
            del members[i]
        case 1:
            members.insert(rng.randrange(len(members)), members[i])
        case 2:
            members[i] = (name.replace("/", rng.choice(("/../", "//", "\\", ""))) + "x", content)
        case 3:
            method = zipfile.ZIP_DEFLATED
        case 4:
            members[i] = (name, bytes(1 << 20))
            method = zipfile.ZIP_DEFLATED
        case _:
            change = _pickle if name.endswith(".pkl") else _npy if name.endswith("npy") else _bytes
            for i, (name, content) in enumerate(members):
                if name.endswith(".pkl"):
                    members[i] = (name, _pickle(content, others, rng))
                    break
            else:
                members[i] = (name, change(content, others, rng))
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


STRUCTURES = {
    "safetensors": _safetensors,
    "torch": _zip,
    "ckpt": _protobuf,
    "npz": _zip,
    "index": _json,
}

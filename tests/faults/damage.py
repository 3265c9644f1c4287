"""Damage: bytes changed as disks, networks, editors and attackers change them.

Length fields of PNG and tar are changed so that their checksums fit.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable

import numpy as np

from tests.faults.pictures import SIGNATURE, chunk, chunks

Damage = Callable[[np.random.Generator, bytes], bytes]
_BLOCK = tarfile.BLOCKSIZE


def damaged(rng: np.random.Generator, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Kind of damage and damaged bytes; ``other`` is spliced in now and then."""
    name = str(rng.choice([*_KINDS, "splice"])) if data else "splice"
    if name == "splice":
        return name, data[: _place(rng, data)] + other[_place(rng, other) :]
    return name, _KINDS[name](rng, data)


def _place(rng: np.random.Generator, data: bytes) -> int:
    """A position in the data, often at a block's edge or near an end, where formats keep their structure."""
    size = len(data)
    near = int(rng.choice([rng.integers(size + 1), rng.integers(0, 64), size - rng.integers(0, 64)]))
    place = near // _BLOCK * _BLOCK if rng.random() < 0.2 else near
    return min(max(place, 0), size)


def _stretch(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + int(rng.choice([1, 2, 4, 16, 100, _BLOCK, 4 * _BLOCK])))


def _flip(rng: np.random.Generator, data: bytes) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(len(data), size=int(rng.choice([1, 1, 1, 2, 8]))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    start, stop = _stretch(rng, data)
    filling = (
        rng.bytes(stop - start) if rng.random() < 0.4 else bytes([int(rng.choice([0, 0xFF, 0x30]))]) * (stop - start)
    )
    return data[:start] + filling + data[stop:]


def _insert(rng: np.random.Generator, data: bytes) -> bytes:
    start, stop = _stretch(rng, data)
    return data[:start] + rng.bytes(stop - start) + data[start:]


def _delete(rng: np.random.Generator, data: bytes) -> bytes:
    start, stop = _stretch(rng, data)
    return data[:start] + data[stop:]


def _truncate(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def _repeat(rng: np.random.Generator, data: bytes) -> bytes:
    start, stop = _stretch(rng, data)
    return data[:stop] + data[start:stop] * int(rng.choice([1, 1, 50])) + data[stop:]


def _number(rng: np.random.Generator, data: bytes) -> bytes:
    """Overwrite some bytes with a huge, negative or zero number, in either byte order."""
    size, order = int(rng.choice([2, 4, 8])), str(rng.choice(["<", ">"]))
    place = _place(rng, data[:-size]) if len(data) > size else 0
    value = int(rng.choice(np.array([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1], np.uint64)))
    packed = (value % 2 ** (8 * size)).to_bytes(size, "little" if order == "<" else "big")
    return data[:place] + packed + data[place + size :]


def _fitting_length(rng: np.random.Generator, data: bytes) -> bytes:
    """Change the length of a PNG chunk or tar member, with a checksum that fits."""
    if data.startswith(SIGNATURE):
        return _png_chunk(rng, data)
    headers = [start for start in range(0, len(data) - _BLOCK, _BLOCK) if data[start + 257 : start + 262] == b"ustar"]
    return _tar_header(rng, data, int(rng.choice(headers))) if headers else _number(rng, data)


def _png_chunk(rng: np.random.Generator, data: bytes) -> bytes:
    places = list(chunks(data))
    start, stop = places[int(rng.integers(len(places)))]
    kind, content = data[start + 4 : start + 8], data[start + 8 : stop - 4]
    match int(rng.integers(4)):
        case 0:  # a wrong length
            length = struct.pack(">I", int(rng.choice([0, len(content) + 1, 2**31 - 1, 2**32 - 1])))
            return data[:start] + length + data[start + 4 :]
        case 1:  # twice, or many times
            return data[:stop] + data[start:stop] * int(rng.choice([1, 1, 100])) + data[stop:]
        case 2:  # missing
            return data[:start] + data[stop:]
        case _:  # other content with a correct CRC
            return data[:start] + chunk(kind, _flip(rng, content) if content else b"\1") + data[stop:]


def _tar_header(rng: np.random.Generator, data: bytes, start: int) -> bytes:
    header = bytearray(data[start : start + _BLOCK])
    match int(rng.integers(3)):
        case 0:
            size = int(rng.choice(np.array([0, 1, 511, 5000, 2**33 - 1])))
            header[124:136] = b"%011o\0" % size
        case 1:  # base 256, negative now and then
            header[124:136] = bytes([int(rng.choice([0x80, 0xFF]))]) + rng.bytes(11)
        case _:
            header[156] = int(rng.choice(list(b"0123456789xgLKSDVM\0")))
    return data[:start] + with_checksum(bytes(header)) + data[start + _BLOCK :]


def with_checksum(header: bytes) -> bytes:
    """A tar header with a correct checksum."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    return header[:148] + b"%06o\0 " % total + header[156:]


_KINDS: dict[str, Damage] = {
    "flip": _flip,
    "overwrite": _overwrite,
    "insert": _insert,
    "delete": _delete,
    "truncate": _truncate,
    "repeat": _repeat,
    "number": _number,
    "fitting length": _fitting_length,
}

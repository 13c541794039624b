"""Ways to damage a shard that know what a tar is made of; fuzz.py reads what becomes of it."""

from __future__ import annotations

import gzip
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import zstandard
from tars import BLOCK, Tar

HEADER_FIELDS = {
    **{"name": (0, 100), "mode": (100, 108), "uid": (108, 116), "size": (124, 136), "mtime": (136, 148)},
    **{"checksum": (148, 156), "type": (156, 157), "link": (157, 257), "magic": (257, 265), "prefix": (345, 500)},
    "sparse": (386, 495),
}
NAMES = [*rb"k1.png k1.mask.png k2.txt k9.json ../k3.png /k4.png .png k5.".split(), b"k6\xff.png", b""]
NUMBERS = [b"00000000000\0", b"00000001000\0", b"77777777777\0", b"\xff" * 12]
NUMBERS += [b"\x80" + b"\x7f" * 11, b"-1\0", b"9" * 12]
TYPES = b"0\x0012345679xgLKSVNMX?A"
PAX = [
    *rb"path=k1.png path=../x.png path= size=0 size=512 size=-512 size=99999999999999999999 size=nan".split(),
    *rb"hdrcharset=BINARY hdrcharset=UTF-7 linkpath=/etc/passwd mtime=1e999 GNU.sparse.map=0,512,1024,1".split(),
    b"GNU.sparse.major=1\n28 GNU.sparse.minor=0",
    *rb"GNU.sparse.size=1 GNU.sparse.realsize=-1 GNU.sparse.name=k2.png".split(),
]


@dataclass(frozen=True)
class Case:
    """A damaged shard.

    Attributes:
        changes: what was done, in order.
        suffix: of the file.
        data: of the file.
    """

    changes: tuple[str, ...]
    suffix: str
    data: bytes


def mutate(tars: list[Tar], chosen: int, chance: random.Random) -> Case:
    """One of the tars with up to three changes; a third of the time compressed, and then perhaps changed again."""
    data, changes = bytearray(tars[chosen].data), []
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        change = chance.choice(CHANGES)
        data = change(data, chance, tars) if data else data
        changes.append(change.__name__.removeprefix("_"))
    suffix = chance.choice(("tar", "tar", "tar", "tar", "tar.gz", "tar.zst"))
    if suffix != "tar":
        data = bytearray(gzip.compress(data, 1, mtime=0) if suffix == "tar.gz" else _zstd(data, chance))
        changes.append(suffix)
        if chance.random() < 0.7:
            change = chance.choice((_flip, _cut, _append, _insert, _delete))
            data = change(data, chance, tars)
            changes.append(change.__name__.removeprefix("_"))
    return Case(tuple(changes), suffix, bytes(data))


def _zstd(data: bytes, chance: random.Random) -> bytes:
    half = chance.randrange(len(data) + 1)
    pack = zstandard.ZstdCompressor(write_checksum=chance.random() < 0.5).compress
    return pack(data[:half]) + pack(data[half:])


def _block(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(-(-len(data) // BLOCK)) * BLOCK


def _headers(data: bytearray) -> list[int]:
    return [place for place in range(0, len(data) - BLOCK + 1, BLOCK) if data[place + 257 : place + 262] == b"ustar"]


def _sealed(data: bytearray, place: int) -> None:
    """A right checksum for a header."""
    data[place + 148 : place + 156] = b" " * 8
    data[place + 148 : place + 156] = b"%06o\0 " % sum(data[place : place + BLOCK])


def _flip(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _field(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    """A telling or a random value in a field of a header, mostly with the right checksum."""
    headers = _headers(data)
    if headers:
        place, name = chance.choice(headers), chance.choice(list(HEADER_FIELDS))
        first, last = HEADER_FIELDS[name]
        values = {"name": NAMES, "link": NAMES, "type": [bytes([kind]) for kind in TYPES]}
        value = chance.choice(values.get(name, NUMBERS)) if chance.random() < 0.7 else chance.randbytes(last - first)
        value = value[: last - first]
        data[place + first : place + first + len(value)] = value
        if name == "name":
            data[place + len(value)] = 0
        if chance.random() < 0.9:
            _sealed(data, place)
    return data


def _extend(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    """An extended header before a member, its lengths right or wrong."""
    place = chance.choice(_headers(data) or [0])
    lines = b"".join(_line(chance.choice(PAX), chance) for _ in range(chance.randint(1, 3)))
    lines = lines if chance.random() < 0.8 else chance.choice(NAMES) + b"\0"
    info = tarfile.TarInfo("extended")
    info.type, info.size = chance.choice((b"x", b"x", b"g", b"L", b"K", b"X")), len(lines)
    data[place:place] = info.tobuf(tarfile.USTAR_FORMAT) + lines + bytes(-len(lines) % BLOCK)
    return data


def _line(text: bytes, chance: random.Random) -> bytes:
    length = len(text) + 3 if len(text) < 7 else len(text) + 4
    return b"%d %s\n" % (length if chance.random() < 0.8 else chance.randrange(200), text)


def _cut(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    place = chance.randrange(len(data))
    return data[: place if chance.random() < 0.5 else place // BLOCK * BLOCK]


def _append(data: bytearray, chance: random.Random, tars: list[Tar]) -> bytearray:
    return data + chance.choice((chance.randbytes(700), bytes(5 * BLOCK), chance.choice(tars).data))


def _insert(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    place = chance.randrange(len(data))
    data[place:place] = chance.randbytes(chance.choice((1, 7, BLOCK)))
    return data


def _delete(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    place = chance.randrange(len(data))
    del data[place : place + chance.choice((1, 7, BLOCK, 4 * BLOCK))]
    return data


def _overwrite(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    place, length = _block(data, chance), BLOCK * chance.randint(1, 4)
    filling = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length)))
    data[place : place + length] = filling[: len(data) - place]
    return data


def _swap(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    a, b = _block(data, chance), _block(data, chance)
    first, second = data[a : a + BLOCK], data[b : b + BLOCK]
    if len(first) == len(second):
        data[a : a + BLOCK], data[b : b + BLOCK] = second, first
    return data


def _repeat(data: bytearray, chance: random.Random, _: list[Tar]) -> bytearray:
    """Blocks once more, at another place."""
    source, place = _block(data, chance), _block(data, chance)
    data[place:place] = data[source : source + BLOCK * chance.randint(1, 8)]
    return data


def _splice(data: bytearray, chance: random.Random, tars: list[Tar]) -> bytearray:
    """The beginning of this one and the end of another."""
    other = chance.choice(tars).data
    return data[: _block(data, chance)] + other[_block(bytearray(other), chance) :]


Change = Callable[[bytearray, random.Random, list[Tar]], bytearray]
CHANGES: list[Change] = [
    *(_flip, _field, _field, _extend, _cut, _append, _insert, _delete),
    *(_overwrite, _swap, _repeat, _splice),
]

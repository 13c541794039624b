"""Good tars, and ways to damage them that know what a tar is made of."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zstandard
from PIL import Image

SIDE = 32
BLOCK = 512
HEADER_FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "size": (124, 136),
    "mtime": (136, 148),
    "checksum": (148, 156),
    "type": (156, 157),
    "link": (157, 257),
    "magic": (257, 265),
    "prefix": (345, 500),
    "sparse": (386, 495),
}
NAMES = (
    b"k1.png",
    b"k1.mask.png",
    b"k2.txt",
    b"k9.json",
    b"../k3.png",
    b"/k4.png",
    b".png",
    b"k5.",
    b"k6\xff.png",
    b"",
)
NUMBERS = (
    b"00000000000\0",
    b"00000001000\0",
    b"77777777777\0",
    b"\xff" * 12,
    b"\x80" + b"\x7f" * 11,
    b"-1\0",
    b"9" * 12,
)
TYPES = b"0\x0012345679xgLKSVNMX?A"
PAX = (
    b"path=k1.png",
    b"path=../x.png",
    b"path=",
    b"size=0",
    b"size=512",
    b"size=-512",
    b"size=99999999999999999999",
    b"size=nan",
    b"hdrcharset=BINARY",
    b"hdrcharset=UTF-7",
    b"linkpath=/etc/passwd",
    b"mtime=1e999",
    b"GNU.sparse.map=0,512,1024,1",
    b"GNU.sparse.major=1\n28 GNU.sparse.minor=0",
    b"GNU.sparse.size=1",
    b"GNU.sparse.realsize=-1",
    b"GNU.sparse.name=k2.png",
)


@dataclass(frozen=True)
class Member:
    """A member of a good tar: its header begins at ``start``, its ``data`` at ``place``."""

    key: str
    suffix: str
    start: int
    place: int
    data: bytes

    @property
    def end(self) -> int:
        """Where its data ends; padding follows."""
        return self.place + len(self.data)


@dataclass(frozen=True)
class Tar:
    """A good tar and what is where in it."""

    data: bytes
    members: tuple[Member, ...]


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


def picture(number: int, form: str) -> bytes:
    """A picture of noise, unlike any other number's."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert("RGB") if form == "webp" else image).save(buffer, {"jpg": "jpeg"}.get(form, form))
    return buffer.getvalue()


def corpus() -> list[Tar]:
    """Three tars of six records: in each format that tars have, with short and long names."""
    formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
    return [_tar(form, 100 * number) for number, form in enumerate(formats)]


def _tar(form: int, first: int) -> Tar:
    buffer, members = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for place in range(6):
            long = "" if form == tarfile.USTAR_FORMAT or place % 3 != 1 else "folder/" * 30
            key, number = f"{long}k{place}", first + place
            parts = {("png", "jpg", "webp")[place % 3]: picture(number, ("png", "jpg", "webp")[place % 3])}
            parts |= {"mask.png": picture(number + 50, "png"), "txt": f"prompt of {key}".encode()}
            parts |= {"json": b'{"number": %d}' % number} if place % 2 else {}
            for suffix, data in parts.items():
                info, start = tarfile.TarInfo(f"{key}.{suffix}"), tar.offset
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                members.append(Member(key, suffix, start, tar.offset - -(-len(data) // BLOCK) * BLOCK, data))
    return Tar(buffer.getvalue()[: tar.offset], tuple(members))


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
CHANGES: tuple[Change, ...] = (
    _flip,
    _field,
    _field,
    _extend,
    _cut,
    _append,
    _insert,
    _delete,
    _overwrite,
    _swap,
    _repeat,
    _splice,
)

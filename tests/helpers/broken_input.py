"""Broken and odd input, one kind a line: how it is made, and the rows that it must become."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zstandard
from PIL import Image

SIDE = 16
END = bytes(1024)
Rows = list[tuple[str | None, str | None]]  # key and code; no code for a record that is read, no key for a torn end


# Pictures


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def grey(number: int = 0) -> Image.Image:
    return Image.fromarray(pixels(number))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A good PNG with one more chunk before its pixels."""
    return PNG[:33] + chunk(kind, data) + PNG[33:]


def png_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_of(side: int) -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", side, side) + JPEG[place + 4 :]


def webp_of(side: int) -> bytes:
    data = saved(grey().convert("RGB"), "WEBP", lossless=True)
    bits = int.from_bytes(data[21:25], "little") >> 28 << 28 | (side - 1) << 14 | side - 1
    return data[:21] + bits.to_bytes(4, "little") + data[25:]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]


PNG = saved(grey())
JPEG = saved(grey(), "JPEG", quality=95)
WEBP = saved(grey().convert("RGB"), "WEBP", quality=95)
MASK = saved(Image.fromarray(np.where(pixels(7) > 99, 255, 0).astype(np.uint8)))
MOVES = {"save_all": True, "append_images": [grey(1), grey(2)]}
CMYK = saved(grey().convert("CMYK"), "JPEG")
PALETTE = grey().convert("RGB").quantize(8)
DEEP = Image.fromarray(pixels(0).astype(np.uint16) * 257)


# Tars


def member(name: str, data: bytes = b"", kind: bytes = b"0", form: int = tarfile.PAX_FORMAT, **fields: object) -> bytes:
    """The blocks of one member; ``fields`` are those of its TarInfo."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def record(key: str, form: int = tarfile.PAX_FORMAT, **members: bytes) -> bytes:
    """The blocks of a record with image and mask; ``members`` replace one or add, ``mask_png`` for ``mask.png``."""
    parts = {"png": PNG, "mask_png": MASK, **members}
    return b"".join(member(f"{key}.{suffix.replace('_', '.')}", data, form=form) for suffix, data in parts.items())


def without(key: str, **members: bytes) -> bytes:
    """The blocks of a record with these members only."""
    return b"".join(member(f"{key}.{suffix.replace('_', '.')}", data) for suffix, data in members.items())


def good(key: str, number: int) -> bytes:
    """A record with all that a record may have, unlike any other number's."""
    extra = json.dumps({"number": number, "seed": number}).encode()
    return record(key, png=saved(grey(100 + number)), txt=f"digit {number}".encode(), json=extra)


def header(block: bytes, place: int, value: bytes) -> bytes:
    """Other bytes in a header, with the right checksum again."""
    changed = bytearray(block[:place] + value + block[place + len(value) : 512])
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed) + block[512:]


def special(kind: bytes) -> Callable[[str], bytes]:
    """An image that is a member of another kind than a file, and a mask beside it."""
    return lambda key: member(f"{key}.png", kind=kind, linkname="/etc/passwd") + member(f"{key}.mask.png", MASK)


@dataclass(frozen=True)
class Kind:
    """Blocks of a broken record, and its rows; the key is the kind's name unless the rows say otherwise."""

    blocks: bytes
    rows: Rows


def _keys() -> dict[str, Kind]:
    """Records whose only fault is their key, by what the row calls them."""
    long = "long" * 150
    keys = {
        "empty": ("", ""),
        "empty in a folder": ("folder/", "folder/"),
        "absolute": ("/etc/passwd", "/etc/passwd"),
        "parent": ("../up", "../up"),
        "parent inside": ("a/../../up", "a/../../up"),
        "backslash": ("a\\..\\..\\up/b", "a\\..\\..\\up/b"),
        "newline": ("two\nlines", "two\\nlines"),
        "terminal escape": ("red\x1b[31m", "red\\x1b[31m"),
        "terminal escape in one byte": ("red\x9b31m", "red\\x9b31m"),
        "line separator": ("two\u2028lines", "two\\u2028lines"),
        "reversed text": ("gpj\u202egnp", "gpj\\u202egnp"),
        "too long": (long, long[:512]),
    }
    kinds = {f"key {name}": Kind(record(key), [(row, "bad_key")]) for name, (key, row) in keys.items()}
    latin = Kind(record("caf\udce9", tarfile.USTAR_FORMAT), [("caf\\udce9", "bad_key")])
    gnu = Kind(record("g" + long, tarfile.GNU_FORMAT), [(("g" + long)[:512], "bad_key")])
    zero = member("x", PNG, pax_headers={"path": "zero\0byte.png"})
    zero_byte = Kind(zero, [("zero\\x00byte", "bad_key")])
    return {**kinds, "key not UTF-8": latin, "key too long, GNU": gnu, "key zero byte": zero_byte}


def _accepted() -> dict[str, bytes]:
    """Odd, but read."""
    odd = {
        "long name, pax": record("long name, pax/" + "l" * 300),
        "long name, GNU": record("long name, GNU/" + "l" * 300, tarfile.GNU_FORMAT),
        "leading dots": record("././leading dots"),
        "upper case": without("upper case", PNG=PNG, MASK_PNG=MASK),
        "foreign members": record("foreign members", pkl=b"cos\nsystem\n(S'exit'\ntR.", pyd=b"!", v1_png=b"?"),
        "png that is jpeg": record("png that is jpeg", png=JPEG),
        "trailing bytes": record("trailing bytes", png=PNG + b"and more"),
        "pixels whose checksum alone is wrong": record("pixels whose checksum alone is wrong", png=flipped(PNG, -13)),
        "animated png": record("animated png", png=saved(grey(), **MOVES)),
        "animated webp": without("animated webp", webp=saved(grey(), "WEBP", **MOVES), mask_png=MASK),
        "cmyk": without("cmyk", jpg=CMYK, mask_png=MASK),
        "palette": record("palette", png=saved(PALETTE)),
        "palette, transparent": record("palette, transparent", png=saved(PALETTE, transparency=bytes(8))),
        "sixteen bits": record("sixteen bits", png=saved(DEEP)),
        "grey with alpha": record("grey with alpha", png=saved(grey().convert("LA"))),
        "colour with alpha": record("colour with alpha", png=saved(grey().convert("RGBA"))),
        "one bit": record("one bit", png=saved(grey().convert("1"))),
        "colour mask": record("colour mask", mask_png=saved(grey(3).convert("RGB"))),
        "exif garbage": record("exif garbage", png=with_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")),
        "exif garbage in jpeg": record(
            "exif garbage in jpeg", png=saved(grey(), "JPEG", exif=b"Exif\0\0" + b"\xff" * 9)
        ),
        "icc garbage": record("icc garbage", png=with_chunk(b"iCCP", b"name\0\0garbage")),
        "prompt with a mark": record("prompt with a mark", txt=b"\xef\xbb\xbfdigit"),
        "prompt empty": record("prompt empty", txt=b""),
        "lone surrogate": record("lone surrogate", json=b'{"a": "\\ud800"}'),
        "seed null": record("seed null", json=b'{"seed": null}'),
        "seed float": record("seed float", json=b'{"seed": 7.0}'),
        "seed text": record("seed text", json=b'{"seed": "7"}'),
        "not a number": record("not a number", json=b'{"a": NaN, "b": 1e999}'),
    }
    return odd


def _failed() -> dict[str, dict[str, bytes]]:
    """Members that fail their record, by code and kind; ``png`` and ``mask_png`` are good where not named."""
    broken = {
        "of no bytes": b"",
        "png cut": PNG[: len(PNG) // 2],
        "jpeg cut": JPEG[: len(JPEG) // 2],
        "webp cut": WEBP[: len(WEBP) // 2],
        "png, header damaged": flipped(PNG, 29),
        "png, pixels damaged": flipped(PNG, 60),
        "png, no pixels": png_of(SIDE, SIDE),
        "png, no width": png_of(0, SIDE),
        "png, text bomb": with_chunk(b"zTXt", b"name\0\0" + zlib.compress(bytes(8 << 20))),
        "webp, header only": WEBP[:30],
        "gif": saved(grey(), "GIF"),
        "tiff": saved(grey(), "TIFF"),
        "html": b"<!doctype html><title>404</title>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file",
        "zero bytes": bytes(4096),
    }
    bombs = {"png": png_of(60000, 60000), "just too large": png_of(8193, 8192), "jpeg": jpeg_of(65500)}
    bombs |= {"webp": webp_of(12000)}
    jsons = {
        "of no bytes": b"",
        "no object": b"[1, 2]",
        "a number": b"5",
        "cut": b'{"a": ',
        "single quotes": b"{'a': 1}",
        "not UTF-8": b'{"a": "\xff"}',
        "huge number": b'{"a": ' + b"9" * 5000 + b"}",
        "key twice": b'{"seed": 1, "seed": 2}',
        "too deep to read": b'{"a": ' + b"[" * 100_000,
        "too deep to write": b'{"a": ' + b"[" * 985 + b"]" * 985 + b"}",
    }
    seeds = {"negative": "-1", "broken": "1.5", "2^63": str(2**63), "a boolean": "true", "text": '"one"', "list": "[1]"}
    failed = {"bad_image": {f"image {name}": {"png": data} for name, data in broken.items()}}
    failed["bad_image"]["mask html"] = {"mask_png": broken["html"]}
    failed["bad_image"]["mask of no bytes"] = {"mask_png": b""}
    failed["too_large"] = {f"bomb {name}": {"png": data} for name, data in bombs.items()}
    failed["too_large"]["bomb mask"] = {"mask_png": bombs["png"]}
    failed["too_large"]["bomb prompt"] = {"txt": b"a" * (65 << 10)}
    failed["too_large"]["bomb json"] = {"json": b'{"a": [' + b"[]," * (400 << 10) + b"[]]}"}
    failed["bad_json"] = {f"json {name}": {"json": data} for name, data in jsons.items()}
    failed["bad_seed"] = {f"seed {name}": {"json": f'{{"seed": {value}}}'.encode()} for name, value in seeds.items()}
    failed["bad_text"] = {
        "prompt not UTF-8": {"txt": b"caf\xe9"},
        "prompt in UTF-16": {"txt": "digit".encode("utf-16")},
    }
    failed["image_size"] = {"both too small": dict.fromkeys(("png", "mask_png"), saved(grey().resize((8, 8))))}
    failed["mask_size"] = {"mask too small": {"mask_png": saved(grey().resize((8, 8)))}}
    failed["mask_size"]["image too large"] = {"png": saved(grey().resize((32, 32)))}
    return {code: {name: record(name, **parts) for name, parts in kinds.items()} for code, kinds in failed.items()}


def _members() -> dict[str, Kind]:
    """Faults of members: of another kind, missing, doubled, apart."""
    kinds = {"symbolic link": b"2", "hard link": b"1", "character device": b"3", "block device": b"4", "pipe": b"6"}
    kinds |= {"sparse file": b"S", "unknown type": b"?"}
    found = {name: Kind(special(kind)(name), [(name, "bad_member")]) for name, kind in kinds.items()}
    rest = {
        "mask alone": (without("mask alone", mask_png=MASK), ["missing_image"]),
        "size too small": (header(record("size too small"), 124, b"00000000012\0"), ["bad_image"]),
        "image alone": (without("image alone", png=PNG), ["missing_mask"]),
        "prompt alone": (without("prompt alone", txt=b"digit"), ["missing_image"]),
        "two images": (record("two images", jpg=JPEG), [None, "duplicate_key"]),
        "two images, by case": (record("two images, by case", PNG=PNG), [None, "duplicate_key"]),
        "key twice": (record("key twice") + record("key twice"), [None, "duplicate_key"]),
        "key thrice": (record("key thrice") * 3, [None, "duplicate_key", "duplicate_key"]),
        "folder": (member("folder.png", kind=tarfile.DIRTYPE), []),
        "hidden file": (member("._hidden file.png", b"AppleDouble"), []),
    }
    found |= {name: Kind(blocks, [(name, code) for code in codes]) for name, (blocks, codes) in rest.items()}
    apart = without("apart", png=PNG) + record("between") + without("apart", mask_png=MASK)
    found["apart"] = Kind(apart, [("apart", "not_adjacent"), ("between", None)])
    later = record("again") + record("amid") + without("again", mask_png=MASK)
    found["again"] = Kind(later, [("again", None), ("amid", None), ("again", "duplicate_key")])
    return found


def _kinds() -> dict[str, Kind]:
    odd = {name: Kind(blocks, [(name, None)]) for name, blocks in _accepted().items()}
    for name in ("long name, pax", "long name, GNU"):
        odd[name] = Kind(odd[name].blocks, [(f"{name}/" + "l" * 300, None)])
    failed = {name: Kind(blocks, [(name, code)]) for code, kinds in _failed().items() for name, blocks in kinds.items()}
    return {**_keys(), **_members(), **odd, **failed}


KINDS = _kinds()
GOOD = [good(key, number) for number, key in enumerate("abyz")]
HEAD = sum(map(len, GOOD[:2]))  # where the third record begins
CLEAN = b"".join(GOOD) + END


def around(blocks: bytes) -> bytes:
    """A shard of two good records, something, and two good records."""
    return CLEAN[:HEAD] + blocks + CLEAN[HEAD:]


def cut(place: int) -> tuple[str, bytes]:
    return "tar", CLEAN[:place]


def sized(value: bytes) -> tuple[str, bytes]:
    """The third record's image with another size in its header."""
    return "tar", CLEAN[:HEAD] + header(CLEAN[HEAD:], 124, value)


def extended(length: int, data: bytes) -> tuple[str, bytes]:
    """Before the third record, an extended header that says it has so many bytes."""
    return "tar", around(header(member("x", data, b"x"), 124, b"%011o\0" % length))


ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(CLEAN)
GZIP = gzip.compress(CLEAN, mtime=0)
THIRD = len(GOOD[2])
# Shards that break: suffix and bytes, and the records that are read nevertheless.
TORN: dict[str, tuple[tuple[str, bytes], str]] = {
    "cut in a header": (cut(HEAD + 100), "ab"),
    "cut after a header": (cut(HEAD + 512), "ab"),
    "cut in a picture": (cut(HEAD + 600), "ab"),
    "cut between members": (cut(HEAD + 1024), "ab"),
    "cut after the required members": (cut(HEAD + 2048), "aby"),
    "cut in an optional member": (cut(HEAD + THIRD - 512), "aby"),
    "cut between records": (cut(HEAD + THIRD), "aby"),
    "cut in the last padding": (cut(len(CLEAN) - 1025), "abyz"),
    "no end marker": (cut(len(CLEAN) - 1024), "abyz"),
    "half an end marker": (cut(len(CLEAN) - 512), "abyz"),
    "end marker cut": (cut(len(CLEAN) - 1), "abyz"),
    "nothing": (("tar", b""), ""),
    "one byte": (("tar", b"\0"), ""),
    "html": (("tar", b"<!doctype html><title>404</title>" * 100), ""),
    "gzip named tar": (("tar", GZIP), ""),
    "tar named gzip": (("tar.gz", CLEAN), ""),
    "wrong checksum": (("tar", flipped(CLEAN, HEAD + 150)), "ab"),
    "name damaged": (("tar", flipped(CLEAN, HEAD)), "ab"),
    "junk between records": (("tar", around(b"junk" * 128)), "ab"),
    "a zero block between records": (("tar", around(bytes(512))), "ab"),
    "data after the end": (("tar", CLEAN + GOOD[0] + END), "abyz"),
    "size too large": (sized(b"77777777777\0"), "ab"),
    "size too small": (("tar", around(header(member("k.png", bytes(2000)), 124, b"00000000012\0"))), "ab"),
    "size of letters": (sized(b"size unknown"), "ab"),
    "size negative": (sized(b"\xff" * 12), "ab"),
    "size huge": (sized(b"\x80" + b"\x7f" * 11), "ab"),
    "extended header of a terabyte": (extended(1 << 32, b"19 path=large.png\n"), "ab"),
    "extended header of digits": (extended(60 << 10, b"1" * (60 << 10)), "ab"),
    "extended headers without end": (("tar", around(member("x", b"9 path=x\n", b"x") * 2000)), "ab"),
    "long name without a member": (("tar", CLEAN[:HEAD] + member("x", b"long\0", b"L") + END), "ab"),
    "gzip cut": (("tar.gz", GZIP[:-6]), "abyz"),
    "gzip cut to nothing": (("tar.gz", GZIP[:5]), ""),
    "gzip, wrong checksum": (("tgz", flipped(GZIP, -6)), "abyz"),
    "gzip, junk behind": (("tar.gz", GZIP + b"junk"), "abyz"),
    "zstd cut": (("tar.zst", ZSTD[:-2]), "abyz"),
    "zstd cut to nothing": (("tar.zst", ZSTD[:5]), ""),
    "zstd, wrong checksum": (("tar.zst", flipped(ZSTD, -2)), ""),
    "zstd, junk behind": (("tar.zst", ZSTD + b"junk"), "abyz"),
}

"""Makes the members of a record in a shard, and checks them with the reader of shards."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from fcs.shards.input.decode import MAX_IMAGE_BYTES, Format, decode
from fcs.shards.input.decode_image import MAX_PIXELS, eight_bit
from fcs.shards.input.record_index import Entry
from fcs.shards.store.atomic_files import storage_error
from fcs.tools.pack.masks import draw
from fcs.tools.pack.source_record import SourceRecord

KEPT = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}  # MPO: a JPEG with further pictures after it
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")  # none that starts a program
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}


class LeftOutError(Exception):
    """Why a record cannot be in a shard."""


@dataclass(frozen=True)
class Recipe:
    """How records are made.

    Attributes:
        mask: a kind of ``FRACTIONS`` to draw, or None to take the masks that records have.
        fraction: of the picture that a drawn mask generates.
        seed: of the drawn masks; each depends on it and on its key, not on the records around it.
        size: (width, height) in pixels that pictures are cut and scaled to, or None to leave them alone.
    """

    mask: str | None = None
    fraction: float = 0.5
    seed: int = 0
    size: tuple[int, int] | None = None


def record_members(record: SourceRecord, key: str, recipe: Recipe) -> dict[str, bytes]:
    """The members of ``key`` by suffix, in the order in which they are written.

    Raises:
        LeftOutError: a picture or text cannot be read, or the record would fail when it is read from the shard.
        StorageError: a file cannot be read for a reason that is not its own.
    """
    if record.error is not None:
        raise LeftOutError(record.error)
    suffix, data, (width, height) = _picture(_bytes(record.image), "", recipe.size)
    made = {suffix: data}
    if recipe.mask is not None:
        drawn = draw(recipe.mask, width, height, recipe.fraction, _seed(recipe, key))
        made["mask.png"] = _png(drawn)
    elif record.mask is not None:
        made["mask.png"] = _picture(_bytes(record.mask), "mask ", recipe.size)[1]
    if record.prompt is not None:
        made["txt"] = _bytes(record.prompt)
    if record.facts is not None:
        made["json"] = _bytes(record.facts)
    _check(made, key, Format(3, height, width))
    return made


def _picture(data: bytes, what: str, size: tuple[int, int] | None) -> tuple[str, bytes, tuple[int, int]]:
    """Suffix, bytes and upright size of a picture: its own bytes wherever a reader of shards knows the format."""
    mode: Literal["L", "RGB"] = "L" if what else "RGB"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise LeftOutError(f"{what}{image.width}x{image.height}, allowed are {MAX_PIXELS} pixels")
            suffix, upright = KEPT.get(image.format or ""), _upright_size(image)
            if size in (None, upright) and suffix is not None and (suffix == "png" or not what):
                return suffix, data, upright
            image.load()
            flat = eight_bit(image, mode, flat=not what)
    except (LeftOutError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise LeftOutError(f"{what}none of {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's plugins raise whatever their parsers stumble over
        line = " ".join(str(error).split()) or type(error).__name__
        raise LeftOutError(f"{what}no picture that can be read ({line[:200]})") from error
    if size is not None and flat.size != size:
        filter = Image.Resampling.NEAREST if what else Image.Resampling.LANCZOS
        flat = ImageOps.fit(flat, size, method=filter)
    return "png", _png(flat), flat.size


def _upright_size(image: Image.Image) -> tuple[int, int]:
    try:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # damaged metadata says nothing about orientation
        turned = False
    return (image.height, image.width) if turned else image.size


def _bytes(content: Path | bytes) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        with open(content, "rb", opener=_without_waiting) as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except ValueError as error:  # a zero byte in the name
        raise LeftOutError(f"{content}: no path") from error
    except OSError as error:
        if error.errno in _MISSING:
            raise LeftOutError(f"{content}: {error.strerror}") from error
        raise storage_error(content, error) from error
    if len(data) > MAX_IMAGE_BYTES:
        raise LeftOutError(f"{content}: more than {MAX_IMAGE_BYTES} bytes")
    return data


def _without_waiting(path: str, flags: int) -> int:
    """A pipe under a picture's name must not hold up everything."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check(made: dict[str, bytes], key: str, form: Format) -> None:
    places = list(made.values())
    entry = Entry(0, key, {suffix: (number, len(data)) for number, (suffix, data) in enumerate(made.items())})
    decoded = decode(entry, lambda number, size: places[number], form)
    if decoded.error is not None:
        raise LeftOutError(decoded.error)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _seed(recipe: Recipe, key: str) -> int:
    text = f"{recipe.seed}\0{recipe.mask}\0{key}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

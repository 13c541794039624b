"""Makes the members of a record in a shard, and checks them with the reader of shards."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from fcs.core.masks import read_mask
from fcs.core.pictures import PictureError, read_picture, upright
from fcs.shards.input.decode import MAX_IMAGE_BYTES, Format, decode
from fcs.shards.input.decode_image import BadRecordError
from fcs.shards.input.decode_measurement import measurement_shape
from fcs.shards.input.record_index import Entry
from fcs.shards.store.atomic_files import storage_error
from fcs.tools.pack.large_pictures import open_to_scale
from fcs.tools.pack.masks import draw
from fcs.tools.pack.source_record import SourceRecord

KEPT = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}  # MPO: a JPEG with further pictures after it
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


class Members(NamedTuple):
    """What a record becomes.

    Attributes:
        content: by suffix, in the order in which it is written.
        notes: codes of ``fcs.core.notes``.
        size: (width, height) of its picture; None where it has none.
    """

    content: dict[str, bytes]
    notes: tuple[str, ...]
    size: tuple[int, int] | None = None


def record_members(record: SourceRecord, key: str, recipe: Recipe) -> Members:
    """The members of ``key``.

    Raises:
        LeftOutError: a picture or text cannot be read, or the record would fail when it is read from the shard.
        StorageError: a file cannot be read for a reason that is not its own.
    """
    if record.error is not None:
        raise LeftOutError(record.error)
    if record.measurement is not None:
        data = _bytes(record.measurement)
        made = {"npy": data, **_texts(record)}
        return Members(made, _check(made, key, Format(1, 1, 1, measurement=_shape(data))))
    picture = _picture(_bytes(record.image), recipe.size)
    made, notes, (width, height) = {picture.suffix: picture.data}, picture.notes, picture.size
    if recipe.mask is not None:
        drawn = draw(recipe.mask, width, height, recipe.fraction, _seed(recipe, key))
        made["mask.png"] = _png(drawn)
    elif record.mask is not None:
        made["mask.png"], said = _mask(_bytes(record.mask), recipe.size, picture.given)
        notes += said
    made |= _texts(record)
    notes = tuple(dict.fromkeys((*notes, *_check(made, key, Format(3, height, width)))))
    return Members(made, notes, (width, height))


def _texts(record: SourceRecord) -> dict[str, bytes]:
    """Prompt and facts."""
    given = {"txt": record.prompt, "json": record.facts}
    return {suffix: _bytes(content) for suffix, content in given.items() if content is not None}


def _shape(data: bytes) -> tuple[int, ...]:
    """The shape of a measurement; which one is wanted, a run's operator says."""
    try:
        return measurement_shape(data)
    except BadRecordError as error:
        raise LeftOutError(f"{error.code}: {error.detail}") from error


class _Picture(NamedTuple):
    """A picture of a shard, and what it was made of.

    Attributes:
        suffix: of its name.
        data: the file.
        given: (width, height) upright, before it was cut and scaled.
        size: the same afterwards.
        notes: codes of ``fcs.core.notes``.
    """

    suffix: str
    data: bytes
    given: tuple[int, int]
    size: tuple[int, int]
    notes: tuple[str, ...]


def _picture(data: bytes, size: tuple[int, int] | None) -> _Picture:
    """A picture, its own bytes where a reader of shards knows the format."""
    try:
        image = open_to_scale(data, size)
        suffix, whole = KEPT.get(image.format or ""), upright(image).size
        if size in (None, whole) and suffix is not None:
            return _Picture(suffix, data, whole, whole, ())  # what is to be noted is found when the record is checked
        flat, notes = read_picture(image, "RGB")
    except PictureError as error:
        raise LeftOutError(error.detail[:200]) from error
    if size is not None and flat.size != size:
        flat = ImageOps.fit(flat, size, method=Image.Resampling.LANCZOS)
    return _Picture("png", _png(flat), whole, flat.size, notes)


def _mask(data: bytes, size: tuple[int, int] | None, given: tuple[int, int]) -> tuple[bytes, tuple[str, ...]]:
    """A mask as PNG, and notes: its own bytes where it is one of plain greys, else what it was read as.

    Args:
        data: the file.
        size: (width, height) that it is cut and scaled to.
        given: those of its picture before that.
    """
    try:
        image = open_to_scale(data, size, nearest=True)
        greys, notes = read_mask(image)
    except PictureError as error:
        raise LeftOutError(f"mask {error.detail[:200]}") from error
    if size is not None and not _alike(greys.size, given):  # cut alike, it would lie elsewhere on its picture
        what = f"{greys.width}x{greys.height} is of another shape than the picture, {given[0]}x{given[1]}"
        raise LeftOutError(f"mask_size: {what}")
    if image.format == "PNG" and size in (None, greys.size) and not notes:
        return data, notes
    if size is not None and greys.size != size:
        greys = ImageOps.fit(greys, size, method=Image.Resampling.NEAREST)
    return _png(greys), notes


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are of one shape, to a pixel: large files are reduced while they are read."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)


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


def _check(made: dict[str, bytes], key: str, form: Format) -> tuple[str, ...]:
    """Read the record as a run would; returns the notes on it."""
    places = list(made.values())
    entry = Entry(0, key, {suffix: (number, len(data)) for number, (suffix, data) in enumerate(made.items())})
    decoded = decode(entry, lambda number, size: places[number], form)
    if decoded.error is not None:
        raise LeftOutError(decoded.error)
    return decoded.notes


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def _seed(recipe: Recipe, key: str) -> int:
    text = f"{recipe.seed}\0{recipe.mask}\0{key}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

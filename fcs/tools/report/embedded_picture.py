"""Pictures inside the page: reduced to a size that a page can carry, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from fcs.core.pictures import MAX_PIXELS

SIDE = 256  # pixels; larger pictures are reduced to it
FINE = 128  # pixels; pictures up to this side are kept without loss
QUALITY = 80
LOSSLESS_EFFORT = 20  # of 100
CACHED = 256  # encoded pictures that may come again
_FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture in a page.

    Attributes:
        uri: a data URI with all its bytes.
        width, height: of the original, in pixels.
    """

    uri: str
    width: int
    height: int


def open_picture(data: bytes) -> Image.Image | None:
    """A PNG, JPEG or WebP as an 8-bit picture; None where it is none of these, damaged or too large."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            return None
        picture.load()
    except Exception:  # Pillow's plugins raise whatever their parsers stumble over
        return None
    return picture if picture.mode == "L" else picture.convert("RGB")


def embedded(picture: Image.Image | None) -> EmbeddedPicture | None:
    """The picture as a page carries it."""
    return None if picture is None else _encoded(picture.mode, picture.size, picture.tobytes())


@lru_cache(CACHED)
def _encoded(mode: str, size: tuple[int, int], data: bytes) -> EmbeddedPicture:
    """Runs have most of their inputs in common, and encoding takes most of a report's time."""
    picture = Image.frombytes(mode, size, data).convert("RGB")
    if max(size) > SIDE:
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(size) <= FINE:
        picture.save(buffer, "webp", lossless=True, quality=LOSSLESS_EFFORT, method=0)
    else:
        picture.save(buffer, "webp", quality=QUALITY)
    return EmbeddedPicture(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", *size)

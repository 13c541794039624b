"""Pictures that are too large for a shard, reduced while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from fcs.core.pictures import FORMATS, MAX_PIXELS, PictureError, identify, naming, upright

LARGEST = 4 * MAX_PIXELS  # what is decoded; a gigabyte with alpha
_MEANT = ("icc_profile", "transparency")  # what still holds of the pixels of an upright, smaller copy
_PLAIN = {"1": "L", "P": "RGBA", "PA": "RGBA"}  # averages of palette indices mean nothing
_AVERAGED = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F")


def open_to_scale(data: bytes, size: tuple[int, int] | None, nearest: bool = False) -> Image.Image:
    """As ``open_picture`` with all formats; beyond ``MAX_PIXELS`` upright and reduced, never below the size wanted.

    Args:
        data: the file.
        size: (width, height) in pixels that it is scaled to afterwards; None refuses what is too large.
        nearest: take single pixels, as masks need; otherwise averages.

    Raises:
        PictureError: as ``open_picture``; with a size only beyond ``LARGEST``.
    """
    with naming(), _any_size():
        image = identify(data, FORMATS)
        pixels, most = image.width * image.height, MAX_PIXELS if size is None else LARGEST
        if pixels > most:
            advice = "; --size reduces it" if pixels <= LARGEST else ""
            raise PictureError("too_large", f"{image.width}x{image.height}, allowed are {most} pixels{advice}")
        if size is not None and pixels > MAX_PIXELS:
            return _reduced(image, max(size), nearest)
        image.load()
        return image


def _reduced(image: Image.Image, side: int, nearest: bool) -> Image.Image:
    """A copy whose shorter side is ``side`` pixels or a little more, if it was more."""
    if not nearest:
        image.draft(None, (side, side))  # a JPEG is decoded at a fraction of its size
    image = upright(image)
    info = {name: image.info[name] for name in _MEANT if name in image.info}
    if not nearest and image.mode in _PLAIN:
        image = image.convert(_PLAIN[image.mode])
        info.pop("transparency", None)
    factor = max(1, min(image.size) // side)
    if nearest or image.mode not in _AVERAGED:
        image = image.resize((image.width // factor, image.height // factor), Image.Resampling.NEAREST)
    else:
        image = image.reduce(factor)
    image.info = info
    return image


@contextmanager
def _any_size() -> Iterator[None]:
    """Pillow's own limit is below what is wanted here; ours is checked before a pixel is decoded."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before

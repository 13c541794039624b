"""Reading a picture: the one way for shards, ``fcs-pack``, style pictures and calls from Python."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from fcs.core.colour_profiles import to_srgb
from fcs.core.notes import COLOUR_PROFILE, FRAMES
from fcs.core.pixel_values import to_bytes

Mode: TypeAlias = Literal["L", "RGB"]
MAX_PIXELS = 64 << 20
SHARD_FORMATS = ("PNG", "JPEG", "WEBP")
_AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()  # from Pillow 11.3 on
FORMATS: tuple[str, ...] = (*SHARD_FORMATS, "BMP", "GIF", "TIFF", "PPM", "JPEG2000", *_AVIF)  # none starts a program
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
# By Pillow's name of how a PNG's pixels are stored: 2 and 4 bits a grey, 16 bits a channel.
_KEY_SCALES: dict[object, Callable[[int], int]] = {
    "L;2": lambda value: value * 85,
    "L;4": lambda value: value * 17,
    "RGB;16B": lambda value: value >> 8,
}
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """Why a picture or a mask cannot be read, as the code and the detail of a record's error."""

    def __init__(self, code: str, detail: object) -> None:
        self.code, self.detail = code, " ".join(str(detail).split()) or type(detail).__name__
        super().__init__(self.detail)


def open_picture(data: bytes, formats: Sequence[str] = SHARD_FORMATS) -> Image.Image:
    """The picture in a file, its pixels decoded; its size is checked before.

    Raises:
        PictureError: none of the formats, damaged, or more than ``MAX_PIXELS``.
    """
    with naming():
        image = identify(data, formats)
        if image.width * image.height > MAX_PIXELS:
            raise PictureError("too_large", f"{image.width}x{image.height}, allowed are {MAX_PIXELS} pixels")
        image.load()
        return image


def identify(data: bytes, formats: Sequence[str]) -> Image.Image:
    """The picture in a file, its header alone read; Pillow's own limits hold.

    Raises:
        PictureError: none of the formats.
    """
    try:
        return _with_scaled_key(Image.open(io.BytesIO(data), formats=formats))
    except UnidentifiedImageError as error:
        raise PictureError("bad_image", f"no {', '.join(formats)}") from error


def read_picture(image: Image.Image, mode: Mode, taken: bool = False) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture as it is meant to be seen: upright by its EXIF orientation, in sRGB, transparency on white, 8 bits.

    Args:
        image: any of Pillow's; floats and 32-bit integers may go to 1, to 255 or to 65535 (``to_bytes``).
        mode: wanted.
        taken: whether the image itself may be given back, changed; a large one is not copied then.

    Returns:
        The picture without metadata, and notes: that its colours were converted, that it is one of several.

    Raises:
        PictureError: damaged, or numbers that are no pixels.
    """
    with naming():
        profile = image.info.get("icc_profile")
        plain = _with_plain_pixels(upright(image))
        converted = to_srgb(plain, profile if isinstance(profile, bytes) else b"")
        made = _on_white(plain if converted is None else converted)
        made = made.convert("RGB") if made.mode == "P" else made
        made = made if taken and made.mode == mode else made.convert(mode)
        made.info = {}  # else it would be saved with what no longer holds of its pixels
        notes = {COLOUR_PROFILE: converted is not None, FRAMES: _has_frames(image)}
        return made, tuple(code for code, holds in notes.items() if holds)


def upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF orientation says.

    Its pixels are decoded first: Pillow raises the error of a damaged file once, and then takes the pixels for black.
    """
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata says nothing about orientation
        turn = None
    return image if turn is None else image.transpose(turn)


def deep_values(image: Image.Image) -> np.ndarray | None:
    """The numbers of a picture of more than 8 bits, uint16 where its file says so; None for others."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    values = np.asarray(image)
    # Pillow before 11 opens a 16-bit PNG as 32-bit integers.
    return values.astype(np.uint16) if image.mode == "I" and image.format == "PNG" else values


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has transparency in any of the ways that files have."""
    return "transparency" in image.info or image.mode in _ALPHA_MODES


def alpha_of(image: Image.Image) -> Image.Image:
    """The alpha channel of a picture that has transparency, mode L."""
    values = deep_values(image)
    if values is None:
        return image.convert("RGBA").getchannel("A")
    return Image.fromarray(np.where(values == image.info["transparency"], np.uint8(0), np.uint8(255)))


def _with_scaled_key(image: Image.Image) -> Image.Image:
    """The same; the colour that is transparent in a PNG is scaled as Pillow scales the pixels, and not that colour."""
    key = image.info.get("transparency")
    scale = _KEY_SCALES.get(image.tile[0][3]) if image.format == "PNG" and image.tile else None
    if scale is not None and isinstance(key, int | tuple):
        image.info["transparency"] = scale(key) if isinstance(key, int) else tuple(map(scale, key))
    return image


def _has_frames(image: Image.Image) -> bool:
    """Whether a file holds more pictures. A JPEG's others (MPO) are previews, depths and gain maps of the one."""
    return image.format != "MPO" and getattr(image, "is_animated", False)


@contextmanager
def naming() -> Iterator[None]:
    """What Pillow raises becomes a PictureError; running out of memory stays what it is."""
    try:
        yield
    except (PictureError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("too_large", f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # Pillow's plugins raise whatever their parsers stumble over
        raise PictureError("bad_image", str(error) or type(error).__name__) from error


def _with_plain_pixels(image: Image.Image) -> Image.Image:
    """8 bits a channel, and transparency, however a file has it, as an alpha channel."""
    values = deep_values(image)
    if values is not None:
        grey = Image.fromarray(to_bytes(values))
        if has_alpha(image):
            grey.putalpha(alpha_of(image))
        return grey
    if has_alpha(image):
        return image.convert("LA" if image.mode in ("L", "LA", "La") else "RGBA")
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")

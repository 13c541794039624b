"""Decodes single pictures: only by PIL, only PNG, JPEG and WebP, and only after their size was checked."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from fcs.shards.input.tar_members import printable

Resize = Literal["none", "crop", "pad"]
MAX_PIXELS = 64 << 20
_FORMATS = ("PNG", "JPEG", "WEBP")
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


class BadRecordError(Exception):
    """What is wrong with a record, as the code and the detail of its error."""

    def __init__(self, code: str, detail: object) -> None:
        super().__init__(code)
        line = " ".join(str(detail).split()) or type(detail).__name__
        self.code, self.detail = code, printable(line)[:200]


def decode_image(data: bytes, mode: Literal["L", "RGB"], what: str = "") -> Image.Image:
    """An upright 8 bit picture in ``mode``, the transparent parts of an image on white.

    Args:
        data: the file.
        mode: wanted.
        what: empty for the image of a record; ``"mask "`` for its mask, to name it in errors.

    Raises:
        BadRecordError: it is no picture that may be read.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise BadRecordError("too_large", f"{what}{size_text(image)}, allowed are {MAX_PIXELS} pixels")
        image.load()
        return eight_bit(image, mode, flat=not what)
    except UnidentifiedImageError as error:
        raise BadRecordError("bad_image", f"{what}no {', '.join(_FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadRecordError("too_large", f"{what}more than {MAX_PIXELS} pixels") from error
    except BadRecordError:
        raise
    except MemoryError as error:
        raise BadRecordError("out_of_memory", f"{what}{len(data)} bytes of picture") from error
    except Exception as error:  # PIL's plugins raise whatever their parsers stumble over
        raise BadRecordError("bad_image", f"{what}{error or type(error).__name__}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata says nothing about orientation
        turn = None
    return image if turn is None else image.transpose(turn)


def eight_bit(image: Image.Image, mode: Literal["L", "RGB"], flat: bool) -> Image.Image:
    """A picture as a record's is read: upright by its EXIF orientation, 16 bit scaled to 8.

    Args:
        image: any of Pillow's.
        mode: wanted.
        flat: put transparency on white; otherwise it is dropped, as a mask's is.
    """
    image = _upright(image)
    if image.mode.startswith("I"):  # 16 bit grey; PIL would clip
        deep = np.asarray(image).clip(0, 65535).astype(np.uint32)
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if flat and ("transparency" in image.info or "A" in image.mode or "a" in image.mode):
        colours = image.convert("RGBA")
        image = Image.new("RGBA", colours.size, "white")
        image.alpha_composite(colours)
    return image.convert("RGB").convert(mode) if image.mode in ("P", "PA", "RGBA") else image.convert(mode)


def fit(image: Image.Image, width: int, height: int, resize: Resize, filter: Image.Resampling) -> Image.Image:
    """The picture at the size that is wanted.

    Raises:
        BadRecordError: it has another size, and ``resize`` is ``none``.
    """
    if image.size == (width, height):
        return image
    if resize == "none":
        raise BadRecordError("image_size", f"{size_text(image)}, expected {width}x{height}; see data.resize")
    if resize == "crop":
        # The centre of the target's shape is cut out first, so that no long strip is ever enlarged.
        scale = min(image.width / width, image.height / height)
        w, h = width * scale, height * scale
        left, top = (image.width - w) / 2, (image.height - h) / 2
        box = (left, top, min(left + w, image.width), min(top + h, image.height))
        return image.resize((width, height), filter, box=box)
    scale = min(width / image.width, height / image.height)
    w, h = (min(max(1, round(side * scale)), most) for side, most in zip(image.size, (width, height), strict=True))
    padded = Image.new(image.mode, (width, height))
    padded.paste(image.resize((w, h), filter), ((width - w) // 2, (height - h) // 2))
    return padded


def to_tensor(image: Image.Image) -> torch.Tensor:
    """``(C, H, W)`` uint8."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def size_text(image: Image.Image) -> str:
    """Width and height for messages."""
    return f"{image.width}x{image.height}"

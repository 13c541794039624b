"""Decodes single pictures: only by PIL, only PNG, JPEG and WebP, and only after their size was checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps

from fcs.core.masks import clean, read_mask
from fcs.core.pictures import Mode, PictureError, alpha_of, has_alpha, open_picture, read_picture, upright
from fcs.shards.input.tar_members import printable

Read = tuple[Image.Image, tuple[str, ...]]


class BadRecordError(Exception):
    """What is wrong with a record, as the code and the detail of its error."""

    def __init__(self, code: str, detail: object) -> None:
        super().__init__(code)
        line = " ".join(str(detail).split()) or type(detail).__name__
        self.code, self.detail = code, printable(line)[:200]


def decode_image(data: bytes, mode: Mode) -> Read:
    """A record's picture in ``mode``, with notes; see ``read_picture``.

    Raises:
        BadRecordError: it is no picture that may be read.
    """
    with _naming("", len(data)):
        return read_picture(open_picture(data), mode, taken=True)


def decode_mask(data: bytes) -> Read:
    """A record's mask as 8-bit greys, with notes; see ``read_mask``.

    Raises:
        BadRecordError: it is no mask that may be read.
    """
    with _naming("mask ", len(data)):
        return read_mask(open_picture(data))


def decode_transparency(data: bytes) -> Image.Image:
    """A mask from a picture's own alpha channel: what is transparent is to be generated.

    Raises:
        BadRecordError: it is no picture that may be read, or has no alpha channel.
    """
    with _naming("", len(data)):
        image = open_picture(data)
        if not has_alpha(image):
            raise PictureError("missing_mask", "data.mask=alpha, and the picture has no alpha channel")
        return clean(ImageOps.invert(alpha_of(upright(image))))


@contextmanager
def _naming(what: str, size: int) -> Iterator[None]:
    try:
        yield
    except PictureError as error:
        raise BadRecordError(error.code, f"{what}{error.detail}") from error
    except MemoryError as error:
        raise BadRecordError("out_of_memory", f"{what}{size} bytes of picture") from error


def to_tensor(image: Image.Image) -> torch.Tensor:
    """``(C, H, W)`` uint8."""
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def size_text(image: Image.Image) -> str:
    """Width and height for messages."""
    return f"{image.width}x{image.height}"

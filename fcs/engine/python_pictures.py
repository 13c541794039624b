"""Pictures and masks from Python, read as a record's are: PIL, arrays, tensors, paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.masks import mask_from, read_mask
from fcs.core.pictures import FORMATS, PictureError, open_picture, read_picture
from fcs.core.pixel_values import to_bytes

Picture: TypeAlias = Image.Image | np.ndarray | Tensor | str | os.PathLike[str]
ARRAYS = "(H, W), (H, W, 3) or (H, W, 4)"
_CHANNELS = (1, 2, 3, 4)


def read_image(picture: Picture, channels: int, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """An image in grey (1 channel) or colours (3), with notes (``fcs.core.notes``).

    Args:
        picture: an array or tensor may hold 0 to 255, 0 to 1 as floats, or uint16; a path is opened.
        channels: wanted.
        name: of the picture, for messages.

    Raises:
        ValueError: a damaged picture, or numbers that are no pixels.
    """
    try:
        given = _opened(picture)
        if isinstance(given, np.ndarray):
            given = Image.fromarray(to_bytes(given[..., 0] if given.shape[2:] == (1,) else given))
        return read_picture(given, "L" if channels == 1 else "RGB")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def read_hole(mask: Picture, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """A mask as 8-bit greys, 255 = generate; the rest as ``read_image``."""
    try:
        given = _opened(mask)
        if isinstance(given, Image.Image):
            return read_mask(given)
        layers = given[..., None] if given.ndim == 2 else given
        colours = layers[..., :3] if layers.shape[2] > 2 else layers[..., 0]
        return mask_from(colours, layers[..., -1] if layers.shape[2] in (2, 4) else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_size(picture: Image.Image, size: tuple[int, int], name: str) -> None:
    """Refuse a picture of another size than ``(height, width)``.

    Raises:
        ValueError: it has one.
    """
    if (picture.height, picture.width) != size:
        raise ValueError(f"{name} of {picture.width}x{picture.height} pixels: expected {size[1]}x{size[0]}")


def _opened(picture: Any) -> Image.Image | np.ndarray:
    """A PIL picture, or an array ``(H, W)`` or ``(H, W, C)`` of 1 to 4 channels that is not empty."""
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, str | os.PathLike):
        try:
            return open_picture(Path(picture).expanduser().read_bytes(), FORMATS)
        except OSError as error:
            raise PictureError("missing_image", f"{picture}: {error.strerror}") from error
    if isinstance(picture, Tensor):
        values = picture.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        picture = values.movedim(0, -1).numpy() if picture.ndim == 3 else values.numpy()
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"{type(picture).__name__}: expected a PIL picture, an array, a tensor (C, H, W) or a path")
    if picture.ndim not in (2, 3) or not picture.size or (picture.ndim == 3 and picture.shape[2] not in _CHANNELS):
        raise ValueError(f"array of {picture.dtype} {picture.shape}: expected {ARRAYS}")
    return picture

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
from fcs.core.notes import NOTHING
from fcs.core.pictures import FORMATS, PictureError, open_picture, read_picture
from fcs.core.pixel_values import to_bytes

Picture: TypeAlias = Image.Image | np.ndarray | Tensor | str | os.PathLike[str]
ARRAYS = "(H, W), (H, W, 3) or (H, W, 4)"
_CHANNELS = (1, 2, 3, 4)


def image_tensor(picture: Picture, shape: tuple[int, int, int], name: str) -> tuple[Tensor, tuple[str, ...]]:
    """An image as uint8 of ``shape`` ``(C, H, W)``, with notes (``fcs.core.notes``).

    Args:
        picture: an array or tensor may hold 0 to 255, 0 to 1 as floats, or uint16; a path is opened.
        shape: wanted.
        name: of the picture, for messages.

    Raises:
        ValueError: another size, a damaged picture, or numbers that are no pixels.
    """
    try:
        given = _opened(picture)
        if isinstance(given, np.ndarray):
            given = Image.fromarray(to_bytes(given[..., 0] if given.shape[2:] == (1,) else given))
        read = read_picture(given, "L" if shape[0] == 1 else "RGB")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return _sized(read[0], shape, name), read[1]


def mask_tensor(mask: Picture, shape: tuple[int, int, int], name: str) -> tuple[Tensor, tuple[str, ...]]:
    """A mask as uint8 ``(1, H, W)``, 255 = generate; the rest as ``image_tensor``."""
    try:
        given = _opened(mask)
        if isinstance(given, Image.Image):
            read = read_mask(given)
        else:
            layers = given[..., None] if given.ndim == 2 else given
            colours = layers[..., :3] if layers.shape[2] > 2 else layers[..., 0]
            read = mask_from(colours, layers[..., -1] if layers.shape[2] in (2, 4) else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    made = _sized(read[0], (1, *shape[1:]), name)
    return made, read[1] if made.any() else (*read[1], NOTHING)


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


def _sized(picture: Image.Image, shape: tuple[int, int, int], name: str) -> Tensor:
    if (picture.height, picture.width) != shape[1:]:
        raise ValueError(f"{name} of {picture.width}x{picture.height} pixels: expected {shape[2]}x{shape[1]}")
    array = torch.from_numpy(np.array(picture))
    return array.unsqueeze(0) if shape[0] == 1 else array.permute(2, 0, 1).contiguous()

"""Pictures from Python to a batch: PIL or arrays, one or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.records import Batch, Record, collate
from fcs.shards.input.decode_image import eight_bit

Picture: TypeAlias = Image.Image | np.ndarray


def batch_of(
    images: Sequence[Picture],
    masks: Sequence[Picture] | None,
    prompt: str | Sequence[str],
    seed: int | Sequence[int],
    extra: Sequence[Mapping[str, Any]] | None,
    shape: tuple[int, int, int],
) -> Batch:
    """One batch of pictures that were given in Python, read as a record's are.

    Args:
        images: one or more, ``shape`` ``(C, H, W)`` each.
        masks: one a picture, or one for all.
        prompt: one text, or one a picture.
        seed: of the first picture, counting up, or one a picture.
        extra: what a record's JSON would hold, one a picture.
        shape: ``(C, H, W)`` that the images must have.

    Raises:
        ValueError: no pictures, other than of this size and 8 bit, seeds outside 0 to 2^63 - 1, or lists that do not
            match.
    """
    count = len(images)
    if not count:
        raise ValueError("no images: expected one or more")
    prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
    seeds = [seed + i for i in range(count)] if isinstance(seed, int | np.integer) else list(seed)
    given = [None] * count if masks is None else list(masks) * (count if len(masks) == 1 else 1)
    further = [{}] * count if extra is None else list(extra)
    if not len(prompts) == len(seeds) == len(given) == len(further) == count:
        lengths = f"{len(given)} masks, {len(prompts)} prompts, {len(seeds)} seeds, {len(further)} extra"
        raise ValueError(f"{count} images, {lengths}: expected one an image")
    records = [
        Record(
            i,
            str(i),
            _tensor(image, shape, "image"),
            None if mask is None else _tensor(mask, (1, *shape[1:]), "mask"),
            text,
            dict(more),
            _seed(number),
        )
        for i, (image, mask, text, number, more) in enumerate(zip(images, given, prompts, seeds, further, strict=True))
    ]
    return collate("", 0, records, shape, 0)


def black(shape: tuple[int, int, int]) -> np.ndarray:
    """A black picture of ``(C, H, W)`` as an array: ``(H, W)`` or ``(H, W, C)`` uint8."""
    channels, height, width = shape
    return np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)


def _seed(seed: int) -> int:
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r}: expected a whole number, 0 to 2^63 - 1")
    return int(seed)


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture as a list of one, several as a list."""
    return [pictures] if isinstance(pictures, Image.Image | np.ndarray) else list(pictures)


def _tensor(picture: Picture, shape: tuple[int, int, int], what: str) -> Tensor:
    """``(C, H, W)`` uint8 of the shape wanted."""
    pil = picture if isinstance(picture, Image.Image) else Image.fromarray(_checked(picture, what))
    pil = eight_bit(pil, "L" if shape[0] == 1 else "RGB", flat=what == "image")
    if (pil.height, pil.width) != shape[1:]:
        raise ValueError(f"{what} of {pil.width}x{pil.height} pixels: expected {shape[2]}x{shape[1]}")
    array = torch.from_numpy(np.array(pil))
    return array.unsqueeze(0) if shape[0] == 1 else array.permute(2, 0, 1).contiguous()


def _checked(array: np.ndarray, what: str) -> np.ndarray:
    """An array whose numbers mean what a picture's mean; another one would be sampled, but not as it was meant."""
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what}={type(array).__name__}: expected a PIL picture or an array")
    if what == "mask" and array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"{what} of {array.dtype} {array.shape}: expected uint8 (H, W) or (H, W, 3)")
    if what == "mask" and array.max(initial=0) == 1:
        raise ValueError("mask of 0 and 1: expected 0 to 255, or booleans")
    return array

"""From a call's pictures, prompts and seeds to a batch."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fcs.core.notes import note_lines, notes_for
from fcs.core.records import Batch, Record, collate
from fcs.engine.python_pictures import Picture as Picture
from fcs.engine.python_pictures import image_tensor, mask_tensor

log = logging.getLogger("fcs")


def batch_of(
    images: Sequence[Picture],
    masks: Sequence[Picture] | None,
    prompt: str | Sequence[str],
    seeds: Sequence[int],
    extra: Sequence[Mapping[str, Any]] | None,
    shape: tuple[int, int, int],
    measurements: Sequence[Tensor] | None = None,
) -> Batch:
    """One batch of pictures that were given in Python, read as a record's are.

    Args:
        images: one or more, ``shape`` ``(C, H, W)`` each.
        masks: one a picture, or one for all.
        prompt: one text, or one a picture.
        seeds: one a picture.
        extra: what a record's JSON would hold, one a picture.
        shape: ``(C, H, W)`` that the images must have.
        measurements: one a picture, where they are given instead of it.

    Raises:
        ValueError: no pictures, some that cannot be read or have another size, masks that are none, or lists that
            do not match.
    """
    count = len(images)
    if not count:
        raise ValueError("no images: expected one or more")
    prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
    given = [None] * count if masks is None else list(masks) * (count if len(masks) == 1 else 1)
    further = [{}] * count if extra is None else list(extra)
    if not len(prompts) == len(seeds) == len(given) == len(further) == count:
        lengths = f"{len(given)} masks, {len(prompts)} prompts, {len(seeds)} seeds, {len(further)} extra"
        raise ValueError(f"{count} images, {lengths}: expected one an image")
    records = []
    for i, (image, mask, text, number, more) in enumerate(zip(images, given, prompts, seeds, further, strict=True)):
        place = f" {i}" if count > 1 else ""
        pixels, notes = image_tensor(image, shape, f"image{place}")
        hole, said = (None, ()) if mask is None else mask_tensor(mask, shape, f"mask{place}")
        measured = None if measurements is None else measurements[i]
        record = Record(i, str(i), pixels, hole, text, dict(more), number, notes=notes + said, measurement=measured)
        records.append(record)
    return collate("", 0, records, shape, 0)


def say_notes(batch: Batch, needs_mask: bool) -> None:
    """One warning for each kind of thing that was read, but perhaps not as it was meant."""
    counts = Counter(note for record in batch.records if record for note in notes_for(record.notes, needs_mask))
    for line in note_lines(counts):
        log.warning("%s", line)


def black(shape: tuple[int, int, int]) -> np.ndarray:
    """A black picture of ``(C, H, W)`` as an array: ``(H, W)`` or ``(H, W, C)`` uint8."""
    channels, height, width = shape
    return np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture as a list of one, several as a list."""
    if isinstance(pictures, Image.Image | np.ndarray | str | os.PathLike):
        return [pictures]
    return [pictures] if isinstance(pictures, Tensor) and pictures.ndim < 4 else list(pictures)

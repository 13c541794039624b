"""From a call's pictures, prompts and seeds to records."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fcs.core.notes import note_lines, notes_for
from fcs.core.records import Record
from fcs.engine.python_pictures import Picture as Picture
from fcs.engine.python_pictures import check_size, read_hole, read_image
from fcs.shards.input.decode import Format
from fcs.shards.input.record_pictures import with_pictures

log = logging.getLogger("fcs")


def records_of(
    images: Sequence[Picture],
    masks: Sequence[Picture] | None,
    prompt: str | Sequence[str],
    seeds: Sequence[int],
    extra: Sequence[Mapping[str, Any]] | None,
    form: Format,
    measurements: Sequence[Tensor] | None = None,
) -> list[Record]:
    """Records of pictures that were given in Python, read as a shard's are.

    Args:
        images: one or more.
        masks: one a picture, or one for all.
        prompt: one text, or one a picture.
        seeds: one a picture.
        extra: what a record's JSON would hold, one a picture.
        form: what is wanted of them.
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
        measured = None if measurements is None else measurements[i]
        record = Record(i, str(i), prompt=text, extra=dict(more), seed=number, measurement=measured)
        records.append(_with_pictures(record, image, mask, form, f" {i}" if count > 1 else ""))
    return records


def _with_pictures(record: Record, image: Picture, mask: Picture | None, form: Format, place: str) -> Record:
    picture, notes = read_image(image, form.channels, f"image{place}")
    size = (form.height, form.width) if form.resize == "none" else (picture.height, picture.width)
    check_size(picture, size, f"image{place}")
    hole = None
    if mask is not None:
        hole, said = read_hole(mask, f"mask{place}")
        check_size(hole, size, f"mask{place}")
        notes += said
    return with_pictures(replace(record, notes=notes), picture, hole, lambda: picture, form)


def say_notes(records: Sequence[Record], needs_mask: bool) -> None:
    """One warning for each kind of thing that was read, but perhaps not as it was meant."""
    counts = Counter(note for record in records for note in notes_for(record.notes, needs_mask))
    for line in note_lines(counts):
        log.warning("%s", line)


def black(shape: tuple[int, int, int]) -> np.ndarray:
    """A black picture of ``(C, H, W)`` as an array: ``(H, W)`` or ``(H, W, C)`` uint8."""
    channels, height, width = shape
    return np.zeros((height, width) if channels == 1 else (height, width, channels), np.uint8)


def as_list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """One picture as a list of one; a list, an array ``(N, H, W, C)`` or a tensor ``(N, C, H, W)`` as a list."""
    if isinstance(pictures, Image.Image | str | os.PathLike):
        return [pictures]
    single = isinstance(pictures, np.ndarray | Tensor) and pictures.ndim != 4
    return [pictures] if single else list(pictures)


def masks_of(masks: Picture | Sequence[Picture], count: int) -> list[Picture]:
    """Masks as a list: one for all of ``count`` images, or one an image.

    Raises:
        ValueError: a tensor ``(N, H, W)`` for N images, which would be read as one mask of N channels.
    """
    if isinstance(masks, Tensor) and masks.ndim == 3 and 1 < len(masks) == count:
        height, width = masks.shape[1:]
        expected = f"({count}, 1, {height}, {width}), or ({height}, {width}) for one mask of all"
        raise ValueError(f"mask: a tensor {tuple(masks.shape)} for {count} images: expected {expected}")
    return as_list(masks)

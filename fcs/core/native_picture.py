"""A picture that is completed at its own size, hole by hole.

The picture is not kept while a model works on its crops: it is decoded once to be cut, and once more to be completed.
Then the holes are filled in place, so nothing else of its size is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.boxes import Box, whole
from fcs.core.crops import Crop, Hole, Pixels, mask_of
from fcs.core.holes import APART

# Made, given, mask, each uint8 ``(1, 1, H, W)``, to the picture.
Blend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
AROUND = APART // 2  # pixels around a hole that blending looks at


@dataclass(frozen=True)
class Completed:
    """A picture whose holes are filled.

    Attributes:
        picture: mode L or RGB.
        before: what was around each hole, and where.
    """

    picture: Image.Image
    before: tuple[tuple[Box, Image.Image], ...]

    def given(self, box: Box) -> Image.Image:
        """What was in a box of the picture before."""
        part = self.picture.crop(box)
        for place, was in self.before:
            both = place.shared(box)
            if both.width > 0 and both.height > 0:
                part.paste(was, place.seen_from(box)[:2])
        return part


@dataclass(frozen=True)
class NativePicture:
    """A picture that is completed at its own size, crop by crop.

    Attributes:
        height, width: its size.
        crops: none where nothing is to be generated.
        read: gives the picture to be completed, Pillow's, in the mode of the crops; it may be changed.
    """

    height: int
    width: int
    crops: tuple[Crop, ...]
    read: Callable[[], Image.Image]

    @property
    def holes(self) -> list[Hole]:
        """All of them."""
        return [hole for crop in self.crops for hole in crop.holes]

    def mask_in(self, box: Box) -> Pixels:
        """The whole mask in a box, uint8 ``(height, width)``."""
        return mask_of(self.holes, box)

    def completed(self, picture: Image.Image, made: Sequence[Tensor], blend: Blend) -> Completed:
        """The picture with its holes filled; outside them it is as given.

        Args:
            picture: from ``read``; it is changed.
            made: uint8 ``(C, h, w)``, what the model made of each crop, in their order.
            blend: puts what was made into the picture, channel by channel, where a mask says so.
        """
        place, before = whole(self.width, self.height), []
        for crop, tensor in zip(self.crops, made, strict=True):
            for hole in crop.holes:
                box = hole.box.grown(AROUND).shared(crop.frame).shared(place)
                was = picture.crop(box)
                patch = _blended(_enlarged(tensor, crop.frame, box), np.array(was), hole.mask_in(box), blend)
                picture.paste(Image.fromarray(patch), box)
                before.append((box, was))
        return Completed(picture, tuple(before))


def _blended(made: Pixels, given: Pixels, mask: Pixels, blend: Blend) -> Pixels:
    """A part of the picture, ``(H, W)`` or ``(H, W, C)``, blended channel by channel; ``given`` is overwritten."""
    for channel in np.ndindex(given.shape[2:]):
        view = given[(..., *channel)]
        view[...] = blend(*(_batch(one) for one in (made[(..., *channel)], view, mask)))[0, 0].numpy()
    return given


def _enlarged(picture: Tensor, frame: Box, box: Box) -> Pixels:
    """What the model made of a frame, in a box inside it, at the picture's own size."""
    whole_crop = picture.permute(1, 2, 0).numpy()
    height, width = whole_crop.shape[:2]
    place = box.seen_from(frame)
    if (frame.height, frame.width) == (height, width):
        found = whole_crop[place.slices]
    else:
        across, along = width / frame.width, height / frame.height
        part = (place.left * across, place.top * along, place.right * across, place.bottom * along)
        crop = Image.fromarray(whole_crop[..., 0] if whole_crop.shape[2] == 1 else whole_crop)
        found = np.asarray(crop.resize((box.width, box.height), Image.Resampling.BICUBIC, box=part))
    return found[..., 0] if found.shape[2:] == (1,) else found


def _batch(pixels: Pixels) -> Tensor:
    """``(1, 1, H, W)`` of ``(H, W)``."""
    return torch.from_numpy(np.array(pixels))[None, None]

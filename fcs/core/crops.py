"""Crops: the parts of a picture that a model of another size completes.

Beyond one look through its mask, time and memory grow with the number of crops and the area of the holes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcs.core.boxes import Box, whole
from fcs.core.holes import Boxes, hole_boxes, joined
from fcs.core.mask_edits import MaskEdits

Pixels: TypeAlias = NDArray[np.uint8]
CELLS = 16  # into which the model's shorter side is divided where holes are looked for


@dataclass(frozen=True)
class Hole:
    """A part of a picture that is to be generated.

    Attributes:
        box: where; outside it the picture stays as it is, as far as no other hole is there.
        packed: the mask in it, uint8 ``(height, width)``, compressed: masks are mostly of one value.
    """

    box: Box
    packed: bytes

    @classmethod
    def of(cls, box: Box, mask: Pixels) -> Hole:
        """A hole with the mask ``(height, width)`` of its box."""
        return cls(box, zlib.compress(mask.tobytes(), 1))

    @property
    def mask(self) -> Pixels:
        """uint8 ``(height, width)``, 255 = generated."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.box.height, self.box.width)

    def mask_in(self, box: Box) -> Pixels:
        """The mask in another box, black outside the hole's own."""
        return mask_of([self], box)


@dataclass(frozen=True)
class Crop:
    """What a model sees of a picture, to complete some of its holes.

    Attributes:
        frame: what is cut out; where it leaves the picture, that is mirrored at its edge.
        holes: those that are completed from it. Others that reach into it are masked, and stay.
        image: uint8 ``(C, H, W)`` at the model's size.
        mask: uint8 ``(1, H, W)``, 255 = generate.
    """

    frame: Box
    holes: tuple[Hole, ...]
    image: Tensor
    mask: Tensor


def cut(image: Image.Image, mask: Pixels, size: tuple[int, int], margin: float, edits: MaskEdits) -> tuple[Crop, ...]:
    """The crops of a picture: as few as hold all holes without being reduced more than each hole needs.

    Args:
        image: mode L or RGB.
        mask: uint8 ``(H, W)`` of its size, 255 = generate.
        size: ``(height, width)`` of what the model sees. A crop is never enlarged: it is at least as large.
        margin: share of a crop's sides that is kept on each side of the hole, as far as the picture reaches.
        edits: growth and feather, in the picture's pixels.
    """
    height, width = size
    reach = edits.grow + edits.feather
    boxes = hole_boxes(mask, max(1, min(size) // CELLS), reach)
    holes = [Hole.of(box, edits.spread(_tensor(mask[box.slices]))[0].numpy()) for box in boxes]
    place = whole(*image.size)

    def scales(found: Boxes) -> NDArray[np.float64]:
        return _scales(found, place, width, height, margin)

    def together(one: Boxes, others: Boxes, both: Boxes) -> NDArray[np.bool_]:
        fits: NDArray[np.bool_] = scales(both) <= np.maximum(scales(one[None]), scales(others)) + 1e-9
        return fits

    crops, left = [], list(holes)
    for box in joined(boxes, together):
        scale = float(scales(np.array([box]))[0])
        frame = _frame(box, place, math.ceil(scale * width - 1e-6), math.ceil(scale * height - 1e-6))
        own = tuple(hole for hole in left if hole.box.shared(box) == hole.box)
        left = [hole for hole in left if hole not in own]
        crops.append(Crop(frame, own, *_seen(image, holes, frame, width, height)))
    return tuple(crops)


def _scales(boxes: Boxes, place: Box, width: int, height: int, margin: float) -> NDArray[np.float64]:
    """How many pixels of the picture one of the model's must hold for each box and its margin, 1 or more."""
    sides = boxes[:, 2:] - boxes[:, :2]
    beside = sides * margin / (1 - 2 * margin)
    first = np.maximum(boxes[:, :2] - beside, (place.left, place.top))
    last = np.minimum(boxes[:, 2:] + beside, (place.right, place.bottom))
    scales: NDArray[np.float64] = ((last - first) / (width, height)).max(1).clip(min=1)
    return scales


def _frame(box: Box, place: Box, width: int, height: int) -> Box:
    """A frame of this size around the box, inside the picture where that is large enough, else around it all."""

    def start(first: int, last: int, side: int, most: int) -> int:
        if side >= most:
            return (most - side) // 2
        return min(max(0, (first + last - side) // 2), most - side)

    left = start(box.left, box.right, width, place.width)
    top = start(box.top, box.bottom, height, place.height)
    return Box(left, top, left + width, top + height)


def _seen(image: Image.Image, holes: Sequence[Hole], frame: Box, width: int, height: int) -> tuple[Tensor, Tensor]:
    """What is in a frame at the model's size, picture and mask.

    Each of the model's pixels is the mean of those that it covers.
    """
    inside = frame.shared(whole(*image.size))
    picture = mirrored(np.asarray(image.crop(inside)), inside, frame)
    if picture.shape[:2] != (height, width):
        picture = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    return _tensor(picture), _tensor(mask_seen(holes, frame, inside, width, height))


def mask_seen(holes: Sequence[Hole], frame: Box, inside: Box, width: int, height: int) -> Pixels:
    """The mask of some holes in a frame, at the model's size.

    A pixel is to be generated as far as any is that it covers: so what is known holds nothing of what the mask hides.

    Args:
        holes: of the picture.
        frame: of a crop.
        inside: the part of it that is in the picture.
        width, height: of what the model sees.
    """
    mask = mirrored(mask_of(holes, inside), inside, frame)
    return mask if mask.shape == (height, width) else _largest(_largest(mask, height).T, width).T


def mirrored(pixels: Pixels, inside: Box, frame: Box) -> Pixels:
    """A whole frame of pixels ``(H, W)`` or ``(H, W, C)``, mirrored at the edges of the box that they are of."""
    rows = (inside.top - frame.top, frame.bottom - inside.bottom)
    columns = (inside.left - frame.left, frame.right - inside.right)
    return np.pad(pixels, [rows, columns] + [(0, 0)] * (pixels.ndim - 2), "reflect")


def _largest(values: Pixels, count: int) -> Pixels:
    """The largest of the rows that each of ``count`` rows covers, also in part."""
    edges = np.arange(count + 1) * len(values)
    ends = np.stack([edges[:-1] // count, -(-edges[1:] // count)], 1).reshape(-1)
    padded = np.concatenate([values, np.zeros_like(values[:1])])  # reduceat takes no end behind the last row
    found: Pixels = np.maximum.reduceat(padded, ends, axis=0)[::2]
    return found


def mask_of(holes: Sequence[Hole], box: Box) -> Pixels:
    """The mask that some holes have in a box, uint8 ``(height, width)``; black where none is."""
    found = np.zeros((box.height, box.width), np.uint8)
    for hole in holes:
        both = hole.box.shared(box)
        if both.width > 0 and both.height > 0:
            found[both.seen_from(box).slices] = hole.mask[both.seen_from(hole.box).slices]
    return found


def _tensor(pixels: NDArray[Any]) -> Tensor:
    """``(C, H, W)`` of ``(H, W)`` or ``(H, W, C)``."""
    return torch.from_numpy(np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)))

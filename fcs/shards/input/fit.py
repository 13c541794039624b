"""How a picture comes to the size that is wanted, and its mask with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from fcs.core.boxes import Box, whole
from fcs.core.crops import mirrored
from fcs.shards.input.decode_image import BadRecordError

Resize: TypeAlias = Literal["none", "crop", "pad", "bucket", "crop_to_mask"]
Edges: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class Fit:
    """A way from one size to another.

    Attributes:
        width, height: wanted.
        source: what is seen of the picture, in its pixels; None for all of it.
        area: where that comes to lie; None for all of what is wanted. Beyond, the picture is mirrored at its edges, a
            mask too: black bars would be taken for part of the picture, and continued into its holes.
    """

    width: int
    height: int
    source: Edges | None = None
    area: Box | None = None

    @property
    def part(self) -> Box | None:
        """What is seen of the picture, in its whole pixels."""
        if self.source is None:
            return None
        left, top, right, bottom = self.source
        near = 1e-6  # of a pixel: rounding
        return Box(math.floor(left + near), math.floor(top + near), math.ceil(right - near), math.ceil(bottom - near))

    def __call__(self, image: Image.Image, filter: Image.Resampling) -> Image.Image:
        """A picture of the size that this way was made for, as wanted."""
        if self.area is None:
            same = self.source is None and image.size == (self.width, self.height)
            return image if same else image.resize((self.width, self.height), filter, box=self.source)
        scaled = np.asarray(image.resize((self.area.width, self.area.height), filter))
        return Image.fromarray(mirrored(scaled, self.area, whole(self.width, self.height)))


def fit(size: tuple[int, int], width: int, height: int, resize: Resize) -> Fit:
    """The way of a picture of ``size`` (width, height) to the size that is wanted.

    Raises:
        BadRecordError: it has another size, and ``resize`` is ``none``.
    """
    if size == (width, height):
        return Fit(width, height)
    if resize == "none":
        raise BadRecordError("image_size", f"{size[0]}x{size[1]}, expected {width}x{height}; see data.resize")
    if resize == "crop":
        # The centre of the target's shape is cut out first, so that no long strip is ever enlarged.
        scale = min(size[0] / width, size[1] / height)
        w, h = width * scale, height * scale
        left, top = (size[0] - w) / 2, (size[1] - h) / 2
        return Fit(width, height, (left, top, min(left + w, size[0]), min(top + h, size[1])))
    scale = min(width / size[0], height / size[1])
    w, h = (min(max(1, round(side * scale)), most) for side, most in zip(size, (width, height), strict=True))
    left, top = (width - w) // 2, (height - h) // 2
    area = Box(left, top, left + w, top + h)
    return Fit(width, height, area=None if area == whole(width, height) else area)


def nearest(buckets: Sequence[tuple[int, int]], image: Image.Image) -> tuple[int, int]:
    """The bucket (height, width) whose shape is nearest to a picture's, by the ratio of their ratios."""
    shape = math.log(image.height / image.width)
    return min(buckets, key=lambda size: abs(math.log(size[0] / size[1]) - shape))

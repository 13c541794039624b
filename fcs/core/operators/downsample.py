"""Reduction of pictures; its inversion is superresolution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.deterministic import bicubic
from fcs.core.operators.base import Operator


class Downsample(Operator):
    """Reduction of each side by a whole factor.

    Args:
        scale: the factor.
        filter: ``bicubic`` (antialiased, Pillow's) or ``average`` over blocks.
    """

    def __init__(self, scale: int, filter: Literal["bicubic", "average"] = "bicubic") -> None:
        self.scale = scale
        self.filter = filter

    def A(self, x: Tensor) -> Tensor:
        if self.filter == "average":
            return F.avg_pool2d(x, self.scale)
        size = (x.shape[-2] // self.scale, x.shape[-1] // self.scale)
        return bicubic(x, size, antialias=True)

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:2], shape[2] * self.scale, shape[3] * self.scale))

    def A_dagger(self, y: Tensor) -> Tensor:
        """Enlarged by the same filter: for blocks the pseudo-inverse, for bicubic nearly a right inverse."""
        if self.filter == "average":
            return y.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        height, width = self.picture_shape(y.shape)[2:]
        return bicubic(y, (height, width))

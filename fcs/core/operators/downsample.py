"""Reduction of pictures; its inversion is superresolution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.deterministic import bicubic
from fcs.core.operators.base import Operator

Filter = Literal["bicubic", "mirrored", "average"]
REACH = 2  # a cubic kernel's half width, in pixels of the small picture


class Downsample(Operator):
    """Reduction of each side by a whole factor.

    Args:
        scale: the factor.
        filter: ``bicubic`` (antialiased, Pillow's), ``mirrored`` or ``average`` over blocks. At the border Pillow's
            weighs what is inside the picture; ``mirrored`` is the same filter on the picture and its reflection, the
            edge pixels twice, as DPS's and later published codes reduce.
    """

    def __init__(self, scale: int, filter: Filter = "bicubic") -> None:
        self.scale = scale
        self.filter = filter

    def A(self, x: Tensor) -> Tensor:
        if self.filter == "average":
            return F.avg_pool2d(x, self.scale)
        rows, columns = x.shape[-2] // self.scale, x.shape[-1] // self.scale
        if self.filter == "bicubic":
            return bicubic(x, (rows, columns), antialias=True)
        beyond = _reflected(x, REACH * self.scale)
        return bicubic(beyond, (rows + 2 * REACH, columns + 2 * REACH), antialias=True)[..., REACH:-REACH, REACH:-REACH]

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:2], shape[2] * self.scale, shape[3] * self.scale))

    def A_dagger(self, y: Tensor) -> Tensor:
        """Enlarged by the same filter: for blocks the pseudo-inverse, for the others nearly a right inverse."""
        if self.filter == "average":
            return y.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)
        height, width = self.picture_shape(y.shape)[2:]
        return bicubic(y, (height, width))


def _reflected(x: Tensor, border: int) -> Tensor:
    """``(N, C, H + 2 border, W + 2 border)``: the picture and its reflections, the edge pixels twice."""
    for side in (-2, -1):
        step = min(border, x.shape[side])  # of a picture that becomes one pixel, half of the border
        for _ in range(border // step):
            x = torch.cat([x.narrow(side, 0, step).flip(side), x, x.narrow(side, -step, step).flip(side)], side)
    return x

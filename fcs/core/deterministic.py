"""Resizing and mirrored borders as matrix products, for GPUs that are to give the same bits each time.

The gradients of torch's own kernels add up in whatever order the GPU's threads come by, and under
``torch.use_deterministic_algorithms`` they refuse. A matrix product has one order.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def bicubic(x: Tensor, size: tuple[int, int], antialias: bool = False) -> Tensor:
    """``(N, C, H, W)`` resized, as ``F.interpolate`` with corners not aligned does it."""
    if not _asked(x):
        return F.interpolate(x, size=size, mode="bicubic", antialias=antialias, align_corners=False)
    height, width = (_resizing(side, new, antialias) for side, new in zip(x.shape[-2:], size, strict=True))
    return _along(x, height, width)


def mirrored(x: Tensor, across: int, along: int) -> Tensor:
    """``(N, C, H, W)`` with mirrored borders: ``across`` pixels at left and right, ``along`` above and below."""
    if not _asked(x):
        return F.pad(x, (across, across, along, along), mode="reflect")
    height, width = (_mirror(side, border) for side, border in zip(x.shape[-2:], (along, across), strict=True))
    return _along(x, height, width)


def _asked(x: Tensor) -> bool:
    return x.is_cuda and torch.are_deterministic_algorithms_enabled()


def _along(x: Tensor, height: Tensor, width: Tensor) -> Tensor:
    rows, columns = (one.to(x.device, x.dtype) for one in (height, width))
    return rows @ x @ columns.mT


@cache
def _resizing(side: int, new: int, antialias: bool) -> Tensor:
    """``(new, side)``: what torch makes of each unit vector."""
    units = torch.eye(side, dtype=torch.float64).view(1, 1, side, side)
    return F.interpolate(units, size=(new, side), mode="bicubic", antialias=antialias, align_corners=False)[0, 0]


@cache
def _mirror(side: int, border: int) -> Tensor:
    """``(side + 2 border, side)`` of zeros and ones."""
    places = F.pad(torch.arange(side, dtype=torch.float64).view(1, 1, side), (border, border), mode="reflect")
    return F.one_hot(places.flatten().long(), side).double()

"""How visible the border between kept and generated pixels is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

REACH = 2  # pixels around what is generated that the runs reach to


def seam(pictures: Tensor, masks: Tensor) -> Tensor:
    """The jump across the border beyond the jumps beside it, ``(N,)`` in 8-bit steps.

    Over all straight runs of four pixels of which two are kept and two generated: the mean of ``|b - c|`` minus the
    mean of ``|a - b|`` and ``|c - d|``. A real picture has 0 in the mean, since no border of a mask is in it; a
    visible seam is above.

    Args:
        pictures: uint8 ``(N, C, H, W)``.
        masks: uint8 ``(N, 1, H, W)``, above 0 = generated.

    Returns:
        NaN for a picture without such a run.
    """
    excess, runs = seam_sums(pictures, masks)
    return torch.where(runs > 0, excess / runs.clamp(min=1), math.nan)


def seam_sums(pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """What ``seam`` is the quotient of, ``(N,)`` each: the sum over the runs, and their number."""
    excess = pictures.new_zeros(len(pictures), dtype=torch.int64)
    runs = torch.zeros_like(excess)
    values, generated, channels = pictures.short(), masks > 0, pictures.shape[1]
    for axis in (axis for axis in (2, 3) if pictures.shape[axis] >= 4):
        jump = values.diff(dim=axis).abs_().sum(1, keepdim=True, dtype=torch.int16)
        a, b, c, d = _neighbours(generated, 4, axis)
        border = (a == b) & (c == d) & (b != c)
        before, across, after = _neighbours(jump, 3, axis)
        excess += ((2 * across - before - after) * border).flatten(1).sum(1)
        runs += border.flatten(1).sum(1)
    return excess.float() / (2 * channels), runs.float()


def _neighbours(values: Tensor, count: int, axis: int) -> list[Tensor]:
    """Views of ``count`` entries side by side along an axis, for all of them that have so many."""
    length = values.shape[axis] - count + 1
    return [values.narrow(axis, first, length) for first in range(count)]

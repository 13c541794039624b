"""Holes that continue as the mirror image of what is beside them, as an encoder of whole pictures expects."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.images import fill_holes

NONE = -1  # no known pixel seen yet


def mirror_holes(pictures: Tensor, known: Tensor) -> Tensor:
    """Continue the known pixels into the holes by reflection at the hole's edge.

    A pixel of a hole takes the value of the pixel as far beyond the known one that is nearest to it, and indices fold
    back at the picture's edges. Where that is no known pixel either, and where nothing is known, it is filled by
    ``fill_holes``. An encoder that normalises over the whole picture (GroupNorm) sees the contrast of the known part
    in the hole too; a smooth fill, which has less, changes the latents of the known part everywhere.

    Args:
        pictures: ``(N, C, H, W)`` floats.
        known: ``(N, 1, H, W)`` in {0, 1}, 1 = known.
    """
    count, channels, height, width = pictures.shape
    at = torch.arange(height * width, device=pictures.device).view(height, width)
    nearest = nearest_known(known[:, 0] > 0).clamp(min=0)
    row = _folded(2 * (nearest // width) - at // width, height)
    column = _folded(2 * (nearest % width) - at % width, width)
    mirrored = (row * width + column).view(count, 1, -1)
    seen = pictures.flatten(2).gather(2, mirrored.expand(-1, channels, -1)).view_as(pictures)
    usable = known.flatten(2).gather(2, mirrored).view_as(known) > 0
    return torch.where(known > 0, pictures, torch.where(usable, seen, fill_holes(pictures, known)))


def nearest_known(known: Tensor) -> Tensor:
    """Flat index ``(N, H, W)`` of the known pixel nearest to each; -1 in a picture without any.

    By jump flooding (Rong and Tan 2006), with a second pass of step 1: seldom a neighbour of the nearest.

    Args:
        known: ``(N, H, W)`` booleans.
    """
    height, width = known.shape[1:]
    at = torch.arange(height * width, device=known.device).view(height, width)
    best = torch.where(known, at, NONE)
    jump = 1 << max((max(height, width) - 1).bit_length() - 1, 0)
    while jump:
        best = _pass(best, at, jump)
        jump //= 2
    return _pass(best, at, 1)


def _pass(best: Tensor, at: Tensor, jump: int) -> Tensor:
    """Each pixel also looks at what those ``jump`` away in eight directions have found."""
    padded = F.pad(best, (jump, jump, jump, jump), value=NONE)
    height, width = at.shape
    least = _squared_distance(best, at)
    for down, right in product((0, jump, 2 * jump), repeat=2):
        other = padded[:, down : down + height, right : right + width]
        distance = _squared_distance(other, at)
        best, least = torch.where(distance < least, other, best), torch.minimum(distance, least)
    return best


def _squared_distance(found: Tensor, at: Tensor) -> Tensor:
    width = at.shape[1]
    squared = (found // width - at // width) ** 2 + (found % width - at % width) ** 2
    return torch.where(found == NONE, torch.iinfo(squared.dtype).max, squared)


def _folded(index: Tensor, length: int) -> Tensor:
    """Indices of a line that is reflected at its first and last entry."""
    if length == 1:
        return torch.zeros_like(index)
    index = index.abs() % (2 * (length - 1))
    return torch.where(index < length, index, 2 * (length - 1) - index)

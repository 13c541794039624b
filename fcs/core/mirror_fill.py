"""Holes that continue as the mirror image of what is beside them, as an encoder of whole pictures expects."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.images import fill_holes

NONE = -(2**14)  # row and column where no known pixel has been seen: farther than any of a picture, squares fit 32 bits


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
    rows, columns = nearest_known(known[:, 0] > 0)
    at_row, at_column = _places(rows)
    row, column = _folded(2 * rows - at_row, height), _folded(2 * columns - at_column, width)
    mirrored = (row * width + column).long().view(count, 1, -1)
    seen = pictures.flatten(2).gather(2, mirrored.expand(-1, channels, -1)).view_as(pictures)
    usable = known.flatten(2).gather(2, mirrored).view_as(known) > 0
    return torch.where(known > 0, pictures, torch.where(usable, seen, fill_holes(pictures, known)))


def nearest_known(known: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column ``(N, H, W)``, int32, of the known pixel nearest to each; ``NONE`` in a picture without any.

    By jump flooding (Rong and Tan 2006), with a second pass of step 1: seldom a neighbour of the nearest.

    Args:
        known: ``(N, H, W)`` booleans; H and W below 2^14.
    """
    found = torch.stack([torch.where(known, place, NONE) for place in _places(known)])
    jump = 1 << max((max(known.shape[1:]) - 1).bit_length() - 1, 0)
    while jump:
        found = _pass(found, jump)
        jump //= 2
    rows, columns = _pass(found, 1)
    return rows, columns


def _places(like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``(H, 1)`` and columns ``(W,)`` of a picture."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, dtype=torch.int32, device=like.device).view(height, 1)
    return rows, torch.arange(width, dtype=torch.int32, device=like.device)


def _pass(found: Tensor, jump: int) -> Tensor:
    """Each pixel also looks at what those ``jump`` away in eight directions have found, ``(2, N, H, W)``."""
    padded = F.pad(found, (jump, jump, jump, jump), value=NONE)
    height, width = found.shape[-2:]
    places = _places(found)
    least = _squared_distance(found, places)
    for down, right in product((0, jump, 2 * jump), repeat=2):
        other = padded[..., down : down + height, right : right + width]
        distance = _squared_distance(other, places)
        found, least = torch.where(distance < least, other, found), torch.minimum(distance, least)
    return found


def _squared_distance(found: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
    return (found[0] - places[0]).square() + (found[1] - places[1]).square()


def _folded(index: Tensor, length: int) -> Tensor:
    """Indices of a line that is reflected at its first and last entry."""
    index = index.abs() % max(2 * (length - 1), 1)
    return torch.where(index < length, index, 2 * (length - 1) - index)

"""What is done to a mask before it is used: turned around, made larger, given a soft edge."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class MaskEdits:
    """Changes of all masks of a run, in the order of the fields.

    Attributes:
        invert: white keeps and black generates; done to the mask as it was read.
        grow: pixels by which what is generated grows on all sides, diagonals included.
        feather: pixels around it over which generated and kept blend into each other, beyond ``grow``.
    """

    invert: bool = False
    grow: int = 0
    feather: int = 0

    def spread(self, mask: Tensor) -> Tensor:
        """A uint8 mask ``(1, H, W)`` at the model's size, grown and feathered.

        What was generated stays so; in the ring beside it the mask falls linearly to 0, which is reached one pixel
        beyond the ring.
        """
        if not self.grow and not self.feather:
            return mask
        found = wide = _grown(mask.float(), self.grow)
        for distance in range(1, self.feather + 1):
            wide = _grown(wide, 1)
            found = torch.maximum(found, wide * (1 - distance / (self.feather + 1)))
        return found.round().byte()


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """The largest value within so many pixels, ``(1, H, W)``, by one pass along each axis."""
    for size in ((2 * pixels + 1, 1), (1, 2 * pixels + 1)):
        mask = F.max_pool2d(mask, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return mask

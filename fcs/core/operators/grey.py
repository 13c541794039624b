"""The luminance of colour pictures; its inversion is colorization."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.operators.base import Operator
from fcs.core.operators.on_device import OnDevice

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey
_WEIGHTS = OnDevice(torch.tensor(LUMA, dtype=torch.float64).view(1, 3, 1, 1))


class Grey(Operator):
    """The luminance of a colour picture, one channel; its inversion is colorization."""

    def A(self, x: Tensor) -> Tensor:
        return (x * _WEIGHTS.like(x)).sum(1, keepdim=True)

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((shape[0], 3, *shape[2:]))

    def A_dagger(self, y: Tensor) -> Tensor:
        """The colour picture of least norm with this luminance."""
        weights = _WEIGHTS.like(y)
        return y * weights / weights.square().sum()

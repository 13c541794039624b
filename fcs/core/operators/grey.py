"""The luminance of colour pictures; its inversion is colorization."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.operators.base import Operator

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey


class Grey(Operator):
    """The luminance of a colour picture, one channel; its inversion is colorization."""

    def A(self, x: Tensor) -> Tensor:
        weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
        return (x * weights).sum(1, keepdim=True)

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((shape[0], 3, *shape[2:]))

    def A_dagger(self, y: Tensor) -> Tensor:
        """The colour picture of least norm with this luminance."""
        weights = torch.tensor(LUMA, dtype=y.dtype, device=y.device).view(1, 3, 1, 1)
        return y * weights / weights.square().sum()

"""Convolution with a given kernel; its inversion is deblurring."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fcs.core.deterministic import mirrored
from fcs.core.operators.base import Operator
from fcs.core.operators.on_device import OnDevice


class Blur(Operator):
    """Convolution of each channel with a kernel; borders are reflected.

    Args:
        kernel: ``(h, w)``, odd sides, sum 1.
    """

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel
        self._kernel = OnDevice(kernel)

    def A(self, x: Tensor) -> Tensor:
        height, width = self.kernel.shape
        padded = mirrored(x, width // 2, height // 2)
        weight = self._kernel.like(x).expand(x.shape[1], 1, height, width)
        return F.conv2d(padded, weight, groups=x.shape[1])

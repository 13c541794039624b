"""Blur by a Gaussian."""

from __future__ import annotations

import math

import torch

from fcs.core.arguments import above_zero
from fcs.core.operators.blur import Blur


class GaussianBlur(Blur):
    """Blur by a Gaussian.

    Args:
        sigma: standard deviation in pixels, above 0.

    Raises:
        ValueError: a sigma that is not positive.
    """

    def __init__(self, sigma: float = 2.0) -> None:
        above_zero(sigma=sigma)
        reach = math.ceil(3 * sigma)
        line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        kernel = torch.outer(line, line)
        super().__init__(kernel / kernel.sum())

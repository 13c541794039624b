"""Pictures composed of two layers by a mask, and the evidence for which layer a pixel belongs to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def compose(mask: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """``m x_1 + (1 - m) x_2``."""
    return mask * one + (1 - mask) * two


def composing(picture: Tensor, mask: Tensor, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """The layers nearest to these that compose to the picture, within [-1, 1].

    Args:
        picture: ``(N, C, H, W)`` in [-1, 1].
        mask: ``(N, 1, H, W)`` in [0, 1].
        one, two: ``(N, C, H, W)``.
    """
    one, two, rest = one.clamp(-1, 1), two.clamp(-1, 1), 1 - mask
    step = (picture - compose(mask, one, two)) / (mask.square() + rest.square())
    one, two = (one + mask * step).clamp(-1, 1), (two + rest * step).clamp(-1, 1)
    # Where one of them met a bound the other takes what is left, which the bounds of the picture allow.
    two = torch.where(rest > 0, (picture - mask * one) / rest.clamp(min=1e-6), two).clamp(-1, 1)
    one = torch.where(mask > 0, (picture - rest * two) / mask.clamp(min=1e-6), one).clamp(-1, 1)
    return one, two


def blur(values: Tensor, sigma: float) -> Tensor:
    """``(N, 1, H, W)`` smoothed by a Gaussian of ``sigma`` pixels; pixels beyond the border do not count."""
    reach = round(3 * sigma)
    if reach == 0:
        return values
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=values.device) / sigma) ** 2).to(values)

    def along(x: Tensor) -> Tensor:
        x = F.conv2d(x, line.view(1, 1, 1, -1), padding=(0, reach))
        return F.conv2d(x, line.view(1, 1, -1, 1), padding=(reach, 0))

    return along(values) / along(torch.ones_like(values))


class PixelMoments:
    """Per-pixel mean and variance over samples; a sample counts only where it was not given the pixel.

    A pixel that a sample was given is no evidence: the sample shows it because it was given.
    """

    def __init__(self) -> None:
        self.count: Tensor | float = 0.0
        self.first: Tensor | float = 0.0
        self.second: Tensor | float = 0.0

    def add(self, sample: Tensor, hidden: Tensor) -> None:
        """Count a sample ``(N, C, H, W)`` where ``hidden`` ``(N, 1, H, W)`` is 1."""
        self.count = self.count + hidden
        self.first = self.first + hidden * sample
        self.second = self.second + hidden * sample.square()

    def log_likelihood(self, picture: Tensor, floor: float) -> Tensor:
        """``log N(picture; mean, variance + floor^2)`` without its constant, summed over channels, ``(N, 1, H, W)``.

        Zero where no sample counted.
        """
        count = torch.as_tensor(self.count)
        mean = self.first / count.clamp(min=1)
        variance = (self.second / count.clamp(min=1) - mean.square()).clamp(min=0) + floor**2
        each = -0.5 * ((picture - mean).square() / variance + variance.log())
        return (count > 0) * each.sum(1, keepdim=True)

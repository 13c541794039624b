"""Small models that need no weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fcs.core.denoiser import Denoiser, Guided
from fcs.models import Model, Schedule


class SmallNetwork(nn.Module):
    """A random convolutional network of (x, t): smooth, not linear, rows independent."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.enter = nn.Conv2d(channels, 16, 3, padding=1)
            self.inner = nn.Conv2d(16, 16, 3, padding=1)
            self.leave = nn.Conv2d(16, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        phase = (t.to(x.dtype) / 1000).reshape(-1, 1, 1, 1)
        hidden = torch.tanh(self.enter(x) + phase)
        return 0.9 * x + self.leave(torch.tanh(self.inner(hidden)))


class Flat(Model):
    """A model without a network whose codec averages blocks of pixels (or, at factor 1, does nothing)."""

    def __init__(self, factor: int, size: int = 16) -> None:
        shape, picture_shape = (3, size // factor, size // factor), (3, size, size)
        super().__init__(Denoiser(nn.Identity(), "eps"), Schedule(None), shape, picture_shape)

    def encode(self, pictures: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pictures, self.factor)

    def decode(self, z: Tensor) -> Tensor:
        return z.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)

    def guided(self, prompts: list[str], negative: str = "", scale: float = 1.0) -> Guided:
        raise AssertionError("no task asks for it")

"""Pictures with pixels that are known here and there, for tests of what fills the rest."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPES = [(16, 16), (8, 32), (32, 8), (15, 9), (1, 7), (7, 1)]


def rand(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def scattered(n: int, height: int, width: int) -> Tensor:
    """A mask with a few known pixels, at least one a row."""
    known = (rand(n, 1, height, width, seed=5) > 0.6).float()
    known[:, :, 0, 0] = 1
    return known

"""Per-sample mathematics: norms, inner products, and noise that belongs to a record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fcs.core.transfer import to_device


def column(values: Tensor, like: Tensor) -> Tensor:
    """``(N,)`` values shaped ``(N, 1, ...)`` so that they broadcast against ``like`` ``(N, *)``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def max_norm(x: Tensor) -> Tensor:
    """Largest absolute entry of each sample of ``(N, *)``, shaped ``(N, 1, ...)``."""
    return column(x.abs().flatten(1).amax(1), x)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample of ``a`` ``(N, *)`` with the same sample of ``b``, ``(N,)``."""
    return (a * b).flatten(1).sum(1)


def rms(x: Tensor) -> Tensor:
    """Root mean square of each sample of ``(N, *)``, ``(N,)``."""
    return x.flatten(1).square().mean(1).sqrt()


def safe_divide(a: Tensor, norm: Tensor) -> Tensor:
    """``a / norm`` for each sample, and zero where the norm is zero: a met constraint asks for no step."""
    met = norm == 0
    return torch.where(met, torch.zeros_like(a), a / torch.where(met, torch.ones_like(norm), norm))


class RecordNoise:
    """Standard normal noise with one generator per record.

    Drawn on the CPU in float32 whatever the state's device and type, so that a record's noise depends on its seed
    alone: not on the batch, the position in it, or the machine (after ``StackedRandomGenerator``, Karras et al. 2024).
    It uses numpy's Philox, since torch's CPU generator reads only 32 bits of a seed: among 100,000 records, two would
    be likely to share their noise.

    Args:
        seeds: one per sample, 0 or above.
        device: where the noise goes.
        dtype: the type it is cast to.
    """

    def __init__(
        self, seeds: Sequence[int], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.generators = [np.random.Generator(np.random.Philox(key=seed)) for seed in seeds]
        self.device = device
        self.dtype = dtype

    def __call__(self, shape: Sequence[int]) -> Tensor:
        """Next draw: ``(N, *shape)`` where ``shape`` is that of one sample."""
        draws = [generator.standard_normal(tuple(shape), dtype=np.float32) for generator in self.generators]
        return to_device(torch.from_numpy(np.stack(draws)).to(self.dtype), self.device)

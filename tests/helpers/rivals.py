"""What the tests of the rival methods share: a small conditioned network, a codec, constraints, all methods."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Known, Measured
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.directions import Gradient
from fcs.core.levels import Level
from fcs.core.per_sample import RecordNoise
from fcs.samplers import (
    DING,
    DPS,
    FMRG,
    LATINO,
    LDPS,
    MMPS,
    MPGD,
    P2L,
    PSLD,
    FreeDoM,
    NewtonKrylov,
    ProjectedNewton,
    RePaint,
    Sampler,
)
from fcs.samplers.prior import Prior

SEEDS = [11, 12, 13, 14]
SIZE = 8
RIVALS: list[Sampler] = [
    DPS(0.3),
    LDPS(0.3, eta=0.5),
    PSLD(0.4, 0.2, eta=0.5),
    FreeDoM(0.4),
    MPGD(0.5),
    MPGD(0.5, project=True),
    MMPS(3, 0.2),
    MMPS(2, 0.2, Gradient()),
    DING(0.1),
    RePaint(2, 3),
    P2L(2, 0.01, 0.3, every=2, eta=0.5),
    LATINO(0.3),
    FMRG(0.5, 2),
    FMRG(0.5, 2, jacobian=True, renewed=True),
    NewtonKrylov(),
    NewtonKrylov(Gradient(), (0, 2, 1), follow=0.0),
    ProjectedNewton(),
    ProjectedNewton(Gradient(), (0, 2, 1), order=1),
]


class Conditional(nn.Module):
    """The small network with a conditioning that shifts what it sees; counts its backward passes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.backwards = 0

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        out: Tensor = self.network(x + 0.3 * torch.tanh(cond) if cond is not None else x, t)
        if out.requires_grad:
            out.register_hook(self._count)
        return out

    def _count(self, gradient: Tensor) -> None:
        self.backwards += 1


def rows(seed: int, size: int = SIZE, n: int = 4) -> Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encode(picture: Tensor) -> Tensor:
    return torch.tanh(F.avg_pool2d(picture, 2))


def decode(z: Tensor) -> Tensor:
    return F.interpolate(z + 0.1 * z**3, scale_factor=2, mode="bilinear")


def reduce(picture: Tensor) -> Tensor:
    return F.avg_pool2d(picture, 4)


def enlarge(measurement: Tensor) -> Tensor:
    return measurement.repeat_interleave(4, 2).repeat_interleave(4, 3)


def mask(n: int = 4) -> Tensor:
    """Left half known, another number of columns in each row, one column softly."""
    m = torch.zeros(n, 1, SIZE, SIZE, dtype=torch.float64)
    for i in range(n):
        m[i, ..., : SIZE // 2 - i % 2] = 1
        m[i, ..., SIZE // 2] = 0.3
    return m


def known(chosen: list[int]) -> Known:
    return Known(rows(1)[chosen], mask()[chosen])


def measured(chosen: list[int]) -> Measured:
    return Measured(rows(2, SIZE // 2)[chosen], reduce, decode)


def prior(network: nn.Module, chosen: list[int]) -> Prior:
    return Prior(Guided(Denoiser(network, "eps"), rows(3)[chosen]), encode, decode)


def sampled(
    sampler: Sampler,
    network: nn.Module,
    levels: list[Level],
    make: Callable[[list[int]], Constraint],
    chosen: list[int],
) -> Tensor:
    """x_0 of the chosen rows, in their order, each with its own seed, target, mask and conditioning."""
    randn = RecordNoise([SEEDS[i] for i in chosen], dtype=torch.float64)
    with torch.no_grad():
        return sampler(randn((1, SIZE, SIZE)), levels, prior(network, chosen), make(chosen), randn)


def named(sampler: Sampler) -> str:
    return type(sampler).__name__

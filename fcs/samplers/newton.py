"""The algorithm: constrained sampling by inexact Newton steps (Graikos, Jojic and Samaras 2025)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcs.constraint import Constraint
from fcs.directions import Direction
from fcs.directions import Newton as NewtonDirection
from fcs.levels import Level
from fcs.rows import max_norm, safe_divide
from fcs.samplers.base import Denoise, Noise, Sampler, ddim

PAPER_STEP_SIZES = (0.5, 0.4, 0.3, 0.2, 0.1)


class Newton(Sampler):
    """Moves x_t until its x_0 meets the constraint, then takes a DDIM step (Graikos et al. 2025, Alg. 1).

    At each level, K times: the error on x_0 becomes a direction on x_t, and x_t moves along it by a step whose
    largest entry is the step size, for each sample by itself (the published code takes the norm over the whole
    batch, which is right for a batch of one only). A sample whose error is zero stays where it is.

    Args:
        direction: the map from errors to steps; the paper's ``fcs.directions.Newton`` if left out.
        step_sizes: the K step sizes lambda, in units of x_t; the paper's for inpainting are .5, .4, .3, .2, .1.
            An empty list is plain DDIM sampling.
    """

    def __init__(self, direction: Direction | None = None, step_sizes: Sequence[float] = PAPER_STEP_SIZES) -> None:
        self.direction = NewtonDirection() if direction is None else direction
        self.step_sizes = tuple(step_sizes)

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        def f(x: Tensor) -> Tensor:
            return denoise(x, t)

        x0, F = self.direction.linearize(f, x)
        for size in self.step_sizes:
            d = F(constraint.error(x0))
            x = x + size * safe_divide(d, max_norm(d))
            x0, F = self.direction.linearize(f, x)
        return ddim(x, x0, t, s, randn)

    def calls(self, steps: int) -> int:
        return steps * (1 + len(self.step_sizes) * (1 + self.direction.forwards))

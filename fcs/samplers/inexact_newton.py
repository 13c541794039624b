"""The algorithm: constrained sampling by inexact Newton steps (Graikos, Jojic and Samaras 2025)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcs.core.arguments import at_least
from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.directions import Direction, Newton
from fcs.core.levels import Level, pairs
from fcs.core.per_sample import max_norm, safe_divide
from fcs.samplers.base import Noise, Sampler, at, ddim_step

PAPER_STEP_SIZES = (0.5, 0.4, 0.3, 0.2, 0.1)


class InexactNewton(Sampler):
    """Moves x_t until its x_0 meets the constraint, then takes a DDIM step (Graikos et al. 2025, Alg. 1).

    At each level, K times: the error on x_0 becomes a direction on x_t, and x_t moves along it by a step whose
    largest entry is the step size, for each sample by itself (the published code takes the norm over the whole
    batch, which is right for a batch of one only). A sample whose error is zero stays where it is.

    Args:
        direction: the map from errors to steps; the Newton direction, as in the paper, if left out.
        step_sizes: the K step sizes lambda, in units of x_t; the paper's for inpainting are .5, .4, .3, .2, .1.
            An empty list is plain DDIM sampling.
        restarts: how often the result is noised again and sampled once more (the ICLR 2025 submission's warm
            restarts; their number is not published).
        depth: share of the levels that a restart goes back, above 0 and up to 1.

    Raises:
        ValueError: a negative number of restarts, a depth outside (0, 1].
    """

    known_as = "Newton"
    direction: Direction

    def __init__(
        self,
        direction: Direction | None = None,
        step_sizes: Sequence[float] = PAPER_STEP_SIZES,
        restarts: int = 0,
        depth: float = 0.5,
    ) -> None:
        at_least(0, restarts=restarts)
        if not 0 < depth <= 1:
            raise ValueError(f"depth={depth}: expected above 0 and up to 1")
        self.direction = Newton() if direction is None else direction
        self.step_sizes = tuple(step_sizes)
        self.restarts = restarts
        self.depth = depth

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        x0 = self.algorithm_1(x, levels, denoise, constraint, randn)
        for _ in range(self.restarts):
            again = levels[-1 - self._levels_again(len(levels) - 1) :]
            x = again[0].alpha * x0 + again[0].sigma * randn(x.shape[1:])
            x0 = self.algorithm_1(x, again, denoise, constraint, randn)
        return x0

    def algorithm_1(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        """The paper's Algorithm 1: x_0 ``(N, *)`` from ``x`` ``(N, *)`` at ``levels[0]``."""
        for t, s in pairs(levels):
            f = at(denoise, t)
            x0, F = self.direction.linearize(f, x, t)
            for step_size in self.step_sizes:
                d = F(constraint.error(x0))
                x = x + step_size * safe_divide(d, max_norm(d))
                x0, F = self.direction.linearize(f, x, t)
            x = ddim_step(x, x0, t, s, randn)
        return x  # at the last level, (alpha, sigma) = (1, 0), it is x_0

    def _levels_again(self, steps: int) -> int:
        """Levels of one restart."""
        return max(1, round(self.depth * steps))

    def calls(self, steps: int) -> int:
        levels = steps + self.restarts * self._levels_again(steps)
        return levels * (1 + len(self.step_sizes) * (1 + self.direction.forwards))

    def backwards(self, steps: int) -> int:
        levels = steps + self.restarts * self._levels_again(steps)
        return levels * len(self.step_sizes) * self.direction.backwards


def falling(first: float, last: float, count: int) -> list[float]:
    """``count`` step sizes that fall linearly from ``first`` to ``last``; one alone is ``first``."""
    return [first + (last - first) * k / max(count - 1, 1) for k in range(count)]

"""Newton moves where they pay, x_0 put onto the measurement, and a second-order step between levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from fcs.constraint import Constraint, Projectable
from fcs.directions import Direction
from fcs.directions import Newton as NewtonDirection
from fcs.levels import Level, pairs
from fcs.samplers.base import Denoise, Noise, Sampler, require
from fcs.samplers.newton import moved


class ProjectedNewton(Sampler):
    """The paper's moves at a fifth of its calls: 40 instead of 220 (docs/frontier.md has what each part is worth).

    Three changes to ``Newton``. The number of moves follows a profile over the walk: none while x_0 says nothing of
    this record yet, and none when the picture is settled. After the moves x_0 is put onto the measurement, for known
    entries ``x_0 <- m y + (1 - m) x_0``, while the noise estimate stays that of the moved x_t. And from level to level
    it goes by DPM-Solver++(2M) (Lu et al. 2022b, Alg. 2) on the corrected x_0, without new noise.

    Args:
        direction: the map from errors to steps; ``fcs.directions.Newton`` if left out.
        moves: moves at each level, noisiest first; stretched or thinned where there is another number of levels.
        first: step size of a level's first move, in units of x_t.
        last: step size of its last move; between them sizes fall linearly.
        project: put x_0 onto the measurement after a level's moves; false does with any constraint.
        order: 2, or 1 for DDIM's step.

    Raises:
        ValueError: no moves or negative ones, a step size that is not positive.
    """

    needs: type[Constraint] = Projectable

    def __init__(
        self,
        direction: Direction | None = None,
        moves: Sequence[int] = (0, 2, 2, 2, 2, 2, 2, 2, 1, 0),
        first: float = 0.5,
        last: float = 0.1,
        project: bool = True,
        order: Literal[1, 2] = 2,
    ) -> None:
        if not moves or min(moves) < 0:
            raise ValueError(f"moves={list(moves)}: expected a number for each level, 0 or more")
        for name, value in (("first", first), ("last", last)):
            if not value > 0:
                raise ValueError(f"{name}={value}: expected a number above 0")
        if order not in (1, 2):
            raise ValueError(f"order={order}: expected 1 or 2")
        self.direction = NewtonDirection() if direction is None else direction
        self.moves = tuple(moves)
        self.first = first
        self.last = last
        self.project = project
        if not project:
            self.needs = Constraint
        self.order = order

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        given = require(constraint, Projectable) if self.project else None
        before: tuple[Level, Tensor] | None = None
        for (t, s), count in zip(pairs(levels), self.plan(len(levels) - 1), strict=True):
            x, x0 = moved(x, t, denoise, constraint, self.direction, self.step_sizes(count))
            corrected = x0 if given is None else given.project(x0)
            # x_t moves with its x_0, so that the noise in it stays what it was.
            x = multistep(x + t.alpha * (corrected - x0), corrected, t, s, before if self.order == 2 else None)
            before = t, corrected
        return x

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        return self(x, [t, s], denoise, constraint, randn)

    def plan(self, steps: int) -> list[int]:
        """Moves at each of ``steps`` levels: the profile, read at the middle of each level's share of the walk."""
        return [self.moves[int((i + 0.5) * len(self.moves) / steps)] for i in range(steps)]

    def step_sizes(self, count: int) -> list[float]:
        """Step sizes of ``count`` moves at a level."""
        return [self.first + (self.last - self.first) * k / max(count - 1, 1) for k in range(count)]

    def calls(self, steps: int) -> int:
        return steps + sum(self.plan(steps)) * (1 + self.direction.forwards)

    def backwards(self, steps: int) -> int:
        return sum(self.plan(steps)) * self.direction.backwards


def multistep(x: Tensor, x0: Tensor, t: Level, s: Level, before: tuple[Level, Tensor] | None) -> Tensor:
    """From level ``t`` to ``s`` by DPM-Solver++(2M) (Lu et al. 2022b, Alg. 2); to the clean picture: x_0 itself.

    ``x_s = (sigma_s / sigma_t) x + (alpha_s - sigma_s alpha_t / sigma_t) D`` with D on the line through this x_0 and
    the one before in log(alpha / sigma), half a step ahead. Without one before D is x_0, and this is DDIM.

    Args:
        x: ``(N, *)`` at level ``t``.
        x0: ``(N, *)``, what it is thought to become.
        t, s: levels, the noisier first.
        before: the noisier level left last, with its x_0.
    """
    if s.sigma == 0:
        return x0
    D = x0
    if before is not None and before[0].alpha > 0:  # a flow begins at log 0
        r = (_half_log_snr(t) - _half_log_snr(before[0])) / (_half_log_snr(s) - _half_log_snr(t))
        D = x0 + (x0 - before[1]) / (2 * r)
    return s.sigma / t.sigma * x + (s.alpha - s.sigma * t.alpha / t.sigma) * D


def _half_log_snr(level: Level) -> float:
    return math.log(level.alpha / level.sigma)

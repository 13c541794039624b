"""Newton moves where they pay, x_0 put onto the measurement, and a second-order step between levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fcs.constraint import Constraint, Known, Projectable
from fcs.directions import Direction
from fcs.directions import Newton as NewtonDirection
from fcs.levels import Level, pairs
from fcs.rows import safe_divide
from fcs.samplers.base import Denoise, Noise, Sampler, require
from fcs.samplers.newton import falling, moved

RIDGE = 0.03  # a tenth of it is worse on halves of digits


class ProjectedNewton(Sampler):
    """The paper's moves at a fifth of its calls: 40 instead of 220 (docs/frontier.md has what each part is worth).

    Four changes to ``Newton``. Moves follow a profile over the walk: small while x_0 says little of this record yet,
    larger as it gets definite, none when the picture is settled. What the moves leave of the error is fitted by least
    squares within what J was seen to make of them, which costs no call. Then x_0 is put onto the measurement, for known
    entries ``x_0 <- m y + (1 - m) x_0``, while the noise estimate stays that of the moved x_t. And from level to
    level it goes by DPM-Solver++(2M) (Lu et al. 2022b, Alg. 2) on the corrected x_0, without new noise.

    Args:
        direction: the map from errors to steps; ``fcs.directions.Newton`` if left out.
        moves: moves at each level, noisiest first; stretched or thinned where there is another number of levels.
        first: step size of a level's first move, in units of x_t.
        last: step size of its last move; between them sizes fall linearly.
        growth: factors on the step sizes at the first and at the last level; linear in the levels between.
        fit: correct x_0 within what J was seen to make at the level; where entries are known, else it does nothing.
        project: put x_0 onto the measurement after that; false does with any constraint.
        order: 2, or 1 for DDIM's step.

    Raises:
        ValueError: no moves or negative ones, a step size or a factor that is not positive.
    """

    needs: type[Constraint] = Projectable

    def __init__(
        self,
        direction: Direction | None = None,
        moves: Sequence[int] = (1, 2, 2, 2, 2, 2, 2, 2, 0, 0),
        first: float = 0.5,
        last: float = 0.1,
        growth: tuple[float, float] = (0.4, 3.0),
        fit: bool = True,
        project: bool = True,
        order: Literal[1, 2] = 2,
    ) -> None:
        if not moves or min(moves) < 0:
            raise ValueError(f"moves={list(moves)}: expected a number for each level, 0 or more")
        for name, value in (("first", first), ("last", last), ("growth", min(growth))):
            if not value > 0:
                raise ValueError(f"{name}={value}: expected a number above 0")
        if order not in (1, 2):
            raise ValueError(f"order={order}: expected 1 or 2")
        self.direction = NewtonDirection() if direction is None else direction
        self.moves = tuple(moves)
        self.first = first
        self.last = last
        self.growth = growth
        self.fit = fit
        self.project = project
        if not project:
            self.needs = Constraint
        self.order = order

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        given = require(constraint, Projectable) if self.project else None
        before: tuple[Level, Tensor] | None = None
        for (t, s), sizes in zip(pairs(levels), self.step_sizes(len(levels) - 1), strict=True):
            seen: list[Tensor] = []
            x, x0 = moved(x, t, denoise, constraint, self.direction, sizes, seen)
            corrected = fitted(x0, constraint, seen) if self.fit and isinstance(constraint, Known) else x0
            corrected = corrected if given is None else given.project(corrected)
            # x_t moves with its x_0, so that the noise in it stays what it was.
            x = multistep(x + t.alpha * (corrected - x0), corrected, t, s, before if self.order == 2 else None)
            before = t, corrected
        return x

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        return self(x, [t, s], denoise, constraint, randn)

    def plan(self, steps: int) -> list[int]:
        """Moves at each of ``steps`` levels: the profile, read at the middle of each level's share of the walk."""
        return [self.moves[int((i + 0.5) * len(self.moves) / steps)] for i in range(steps)]

    def step_sizes(self, steps: int) -> list[list[float]]:
        """Step sizes of the moves at each of ``steps`` levels."""
        start, end = self.growth
        factors = [start + (end - start) * i / max(steps - 1, 1) for i in range(steps)]
        falls = [falling(self.first, self.last, moves) for moves in self.plan(steps)]
        return [[factor * size for size in sizes] for factor, sizes in zip(factors, falls, strict=True)]

    def calls(self, steps: int) -> int:
        return steps + sum(self.plan(steps)) * (1 + self.direction.forwards)

    def backwards(self, steps: int) -> int:
        return sum(self.plan(steps)) * self.direction.backwards


def fitted(x0: Tensor, constraint: Known, seen: list[Tensor], ridge: float = RIDGE) -> Tensor:
    """``x0`` ``(N, *)`` plus that combination of the changes ``seen`` that leaves the least error, by ridge regression.

    The changes are images under J, so the free entries change as J says they go with the known ones. It is the
    least-squares step of a Krylov method over the products that the moves have paid for.

    Args:
        x0: ``(N, *)``.
        constraint: which entries are known, and their values.
        seen: changes of x_0 to combine, ``(N, *)`` each; none leave x_0 as it is.
        ridge: added to the squared norms of the changes, which count as 1 each; keeps nearly parallel ones in bounds.
    """
    if not seen:
        return x0
    columns = torch.stack([change.flatten(1) for change in seen], 2)
    columns = safe_divide(columns, torch.linalg.vector_norm(columns, dim=1, keepdim=True))
    known = constraint.known.flatten(1).unsqueeze(2) * columns
    # Without a check of its outcome, which would wait for the device: the ridge keeps the matrix regular.
    matrix = known.mT @ known + ridge * torch.eye(len(seen), dtype=x0.dtype, device=x0.device)
    weights, _ = torch.linalg.solve_ex(matrix, known.mT @ constraint.error(x0).flatten(1).unsqueeze(2))
    return x0 + (columns @ weights).view_as(x0)


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

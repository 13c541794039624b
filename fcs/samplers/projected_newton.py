"""Newton moves where they help most, a least-squares fit on what they reveal, a projection, and new noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fcs.core.arguments import above_zero, at_least, zero_to_one
from fcs.core.constraints import Constraint, Known, Projectable
from fcs.core.denoiser import Denoise
from fcs.core.directions import Direction, Newton
from fcs.core.levels import Level, pairs
from fcs.core.per_sample import max_norm, safe_divide
from fcs.samplers.base import Noise, Sampler, at, ddim_step, require, with_eta
from fcs.samplers.inexact_newton import falling

RIDGE = 0.03  # a tenth of it is worse on halves of digits


class ProjectedNewton(Sampler):
    """The paper's moves at a fifth of its calls: 40 instead of 220 (docs/tried.md has what each part is worth).

    Five changes to ``InexactNewton``. Moves follow a profile over the levels: small while x_0 is still vague, larger as
    it becomes definite, none once the picture is settled. The remaining error is fitted by least squares in the span of
    the images under J that the moves revealed, at this level and just before, which costs no call. Then x_0 is put
    onto the measurement, for known entries ``x_0 <- m y + (1 - m) x_0``, while the noise estimate stays that of the
    moved x_t. From level to level it goes by a second-order step on the corrected x_0, as DPM-Solver++(2M) does (Lu et
    al. 2022b, Alg. 2), and with the new noise of ancestral sampling: it covers traces of a
    correction in x_t that no noised picture would have.

    Args:
        direction: the map from errors to steps; the Newton direction if left out.
        moves: moves at each level, noisiest first; stretched or thinned where there is another number of levels.
        first: step size of a level's first move, in units of x_t.
        last: step size of its last move; between them sizes fall linearly.
        growth: factors on the step sizes at the first and at the last level; linear in the levels between.
        fit: correct x_0 in the span of the images under J, where entries are known; otherwise it does nothing.
        memory: how many of the changes seen at earlier levels, the latest, the fit has beside its own.
        project: put x_0 onto the measurement after that; false does with any constraint.
        order: 2, or 1 for DDIM's step.
        eta: new noise of a step, as DDIM's eta; 1 is ancestral sampling's, 0 none.
        prior_variance: of a free entry of x_0 before anything is known of it, 0 or more, as in ``NewtonKrylov``, where
            entries are known; otherwise it does nothing.

    Raises:
        ValueError: no moves or negative ones, a step size or a factor that is not positive, a negative memory or prior
            variance, an eta outside 0 to 1.
    """

    direction: Direction

    def __init__(
        self,
        direction: Direction | None = None,
        moves: Sequence[int] = (1, 2, 2, 2, 2, 2, 2, 2, 0, 0),
        first: float = 0.5,
        last: float = 0.1,
        growth: tuple[float, float] = (0.4, 3.0),
        fit: bool = True,
        memory: int = 4,
        project: bool = True,
        order: Literal[1, 2] = 2,
        eta: float = 1.0,
        prior_variance: float = 0.0,
    ) -> None:
        if not moves or min(moves) < 0:
            raise ValueError(f"moves={list(moves)}: expected a number for each level, 0 or more")
        above_zero(first=first, last=last, growth=min(growth))
        at_least(0, memory=memory, prior_variance=prior_variance)
        zero_to_one(eta=eta)
        if order not in (1, 2):
            raise ValueError(f"order={order}: expected 1 or 2")
        self.direction = Newton() if direction is None else direction
        self.moves = tuple(moves)
        self.first = first
        self.last = last
        self.growth = growth
        self.fit = fit
        self.memory = memory
        self.project = project
        self.order = order
        self.eta = eta
        self.prior_variance = prior_variance

    @property
    def needs(self) -> type[Constraint]:
        """A measurement that x_0 can be put onto, unless ``project`` is off."""
        return Projectable if self.project else Constraint

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        known = constraint if isinstance(constraint, Known) else None
        measurement = require(constraint, Projectable) if self.project else None
        before: tuple[Level, Tensor] | None = None
        seen: list[Tensor] = []
        for (t, s), step_sizes in zip(pairs(levels), self.step_sizes(len(levels) - 1), strict=True):
            x, x0, here = moved(x, t, denoise, constraint, self.direction, step_sizes)
            seen = here + seen[: self.memory]
            corrected = fitted(x0, known, seen) if self.fit and known is not None else x0
            corrected = corrected if measurement is None else measurement.project(corrected)
            x = x + t.alpha * (corrected - x0)  # moves with its x_0, so that the noise in it stays what it was
            std = None if known is None else hidden_std(known, t, self.prior_variance)
            x = onward(x, corrected, t, s, before, self.eta, randn, std)
            before = (t, corrected) if self.order == 2 else None
        return x

    def plan(self, steps: int) -> list[int]:
        """Moves at each of ``steps`` levels: the profile, stretched over them."""
        return stretched(self.moves, steps)

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


def moved(
    x: Tensor, t: Level, denoise: Denoise, constraint: Constraint, direction: Direction, step_sizes: Sequence[float]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The paper's inner loop at level ``t``, and what it reveals of J.

    Returns:
        x_t ``(N, *)`` moved towards the constraint; its x_0 ``(N, *)``; images under J ``(N, *)``: ``J e`` where that
        is the direction, and the change of x_0 by each move.
    """
    f = at(denoise, t)
    x0, F = direction.linearize(f, x, t)
    images: list[Tensor] = []
    for step_size in step_sizes:
        d = F(constraint.error(x0))
        x = x + step_size * safe_divide(d, max_norm(d))
        before = x0
        x0, F = direction.linearize(f, x, t)
        images += [d, x0 - before] if isinstance(direction, Newton) else [x0 - before]
    return x, x0, images


def fitted(x0: Tensor, constraint: Known, seen: list[Tensor], ridge: float = RIDGE) -> Tensor:
    """``x0`` ``(N, *)`` plus the combination of the changes ``seen`` that leaves the least error, by ridge regression.

    The changes are images under J, so the free entries change as J says they go with the known ones. It is the
    least-squares step of a Krylov method over products that the moves have already computed.

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


def stretched(profile: Sequence[int], steps: int) -> list[int]:
    """A profile over the levels, stretched or thinned to ``steps`` of them."""
    return [profile[int((i + 0.5) * len(profile) / steps)] for i in range(steps)]


def hidden_std(known: Known, t: Level, prior_variance: float) -> Tensor | None:
    """Standard deviation of x_0 ``(N, *)`` given x_t under a white prior, 0 where it is known.

    None where ``prior_variance`` is 0: x_0 counts as certain.
    """
    if prior_variance == 0:
        return None
    variance = prior_variance * t.sigma**2 / (prior_variance * t.alpha**2 + t.sigma**2)
    return ((1 - known.known) * variance).sqrt()


def onward(
    x: Tensor,
    x0: Tensor,
    t: Level,
    s: Level,
    before: tuple[Level, Tensor] | None,
    eta: float,
    randn: Noise,
    std: Tensor | None = None,
) -> Tensor:
    """DDIM's step from level ``t`` to ``s`` on what x_0 will be, with new noise.

    Args:
        x, x0: ``(N, *)`` at level ``t``.
        t, s: levels, the noisier first.
        before: the level left last and x_0 there, for a step of second order; None for one of first order, which it
            is in any case where all noise is new.
        eta: DDIM's.
        randn: new noise.
        std: of x_0 ``(N, *)``, for a step that goes on from a draw of it instead of its mean. The last step takes the
            mean all the same, and so does one to a level whose noise is all new.
    """
    D = x0 if before is None or s.renewed else ahead(x0, t, s, *before)
    if std is not None and s.sigma > 0 and not s.renewed:
        D = D + std * randn(x.shape[1:])
    return ddim_step(x, D, t, with_eta(t, s, eta), randn)


def ahead(x0: Tensor, t: Level, s: Level, before: Level, earlier: Tensor) -> Tensor:
    """What x_0 ``(N, *)`` will be half a step ahead: on the line through two of them, in log(alpha / sigma).

    DDIM's step on it instead of x_0 is DPM-Solver++(2M) (Lu et al. 2022b, Alg. 2).

    Args:
        x0: at level ``t``.
        t, s: levels, the noisier first; on the way to the clean picture it is ``x0`` itself.
        before: the noisier level left last; a flow's first, pure noise, is infinitely far: ``x0`` too.
        earlier: x_0 ``(N, *)`` there.
    """
    if s.sigma == 0 or before.alpha == 0:
        return x0
    r = (_half_log_snr(t) - _half_log_snr(before)) / (_half_log_snr(s) - _half_log_snr(t))
    return x0 + (x0 - earlier) / (2 * r)


def _half_log_snr(level: Level) -> float:
    return math.log(level.alpha / level.sigma)

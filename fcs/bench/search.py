"""A search of the unit cube for few and dear trials: points spread evenly, then steps around the best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import qmc

SPREAD = 0.5  # share of the trials that are spread over the whole cube
WIDEST, NARROWEST = 0.2, 0.05  # standard deviation of a step on each axis, at the first and the last of them
PARENTS = 3  # a step starts at one of so many, the better the more often


class Search:
    """Proposes points; what it proposes depends on the seed and on what was told of earlier ones alone.

    The second half is an evolution strategy without recombination: a normal step from one of the best three points,
    its width falling with the trials that are left, folded back at the cube's faces.

    Args:
        axes: of the cube.
        trials: that will be asked for.
        seed: of what is left to chance.
    """

    def __init__(self, axes: int, trials: int, seed: int) -> None:
        self.spread = max(1, round(SPREAD * trials))
        self.trials = trials
        self._points = qmc.Halton(axes, scramble=True, rng=seed).random(self.spread)
        self._rng = np.random.default_rng(seed)

    def propose(self, told: Sequence[tuple[list[float], float]]) -> list[float]:
        """The next point, given all earlier ones with what they cost; infinity where one failed."""
        number = len(told)
        if number < self.spread:
            return [float(share) for share in self._points[number]]
        best = sorted(told, key=lambda pair: pair[1])[:PARENTS]
        weights = np.arange(len(best), 0, -1, dtype=float)
        start = np.array(best[self._rng.choice(len(best), p=weights / weights.sum())][0])
        left = (self.trials - 1 - number) / max(self.trials - 1 - self.spread, 1)
        width = NARROWEST + (WIDEST - NARROWEST) * max(left, 0.0)
        return folded(start + width * self._rng.standard_normal(len(start)))


def folded(point: np.ndarray) -> list[float]:
    """A point outside the unit cube mirrored at its faces."""
    inside = np.abs((point + 1) % 2 - 1)
    return [round(float(share), 6) for share in inside]

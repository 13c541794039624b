"""A search for few and dear trials: points spread evenly over the unit cube, then steps around the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import qmc

if TYPE_CHECKING:
    from fcs.bench.methods import Axis

SPREAD = 0.5  # share of the trials that are spread over the whole cube
WIDEST, NARROWEST = 0.2, 0.05  # standard deviation of a step on each axis, at the first and the last of them
PARENTS = 3  # a step starts at one of so many, the better the more often
Told = tuple[list[float], float]
Tried = dict[str, Any]


class Search:
    """Proposes points; what it proposes depends on the seed and on what was told of earlier ones alone.

    The second half is an evolution strategy without recombination: a normal step from one of the best three points,
    its width falling with the trials that are left. A step that found the best so far is taken once more, as in Hooke
    and Jeeves' pattern search (1961). Steps are folded back at closed ends of an axis; through open ones the search
    follows the best beyond the range that was written down.

    Args:
        axes: that are searched.
        trials: that will be asked for.
        seed: of what is left to chance.
    """

    def __init__(self, axes: Sequence[Axis], trials: int, seed: int) -> None:
        self.spread = max(1, round(SPREAD * trials))
        self.trials = trials
        self._open = np.array([axis.open for axis in axes], bool)
        self._points = qmc.Halton(len(axes), scramble=True, rng=seed).random(self.spread)
        self._rng = np.random.default_rng(seed)
        self._start: np.ndarray | None = None  # of the last step

    def propose(self, told: Sequence[Told], known: Sequence[Told] = ()) -> list[float]:
        """The next point.

        Args:
            told: all earlier ones with what they cost; infinity where one failed.
            known: others whose cost is known, from which steps may start too.
        """
        number = len(told)
        if number < self.spread:
            return [float(share) for share in self._points[number]]
        best = sorted([*told, *known], key=lambda pair: pair[1])[:PARENTS]
        if self._start is not None and told[-1][1] <= best[0][1]:
            last = np.array(told[-1][0])
            self._start, aim, width = last, 2 * last - self._start, NARROWEST
        else:
            weights = np.arange(len(best), 0, -1, dtype=float)
            self._start = aim = np.array(best[self._rng.choice(len(best), p=weights / weights.sum())][0])
            left = (self.trials - 1 - number) / max(self.trials - 1 - self.spread, 1)
            width = NARROWEST + (WIDEST - NARROWEST) * max(left, 0.0)
        return folded(aim + width * self._rng.standard_normal(len(aim)), self._open)


def searched(
    axes: Sequence[Axis],
    trials: int,
    seed: int,
    attempt: Callable[[list[float], int], Tried | None],
    known: Sequence[Told] = (),
) -> Iterator[Tried]:
    """Trials of what a search proposes.

    A point that is no setting is told to the search as a failure and is no trial; after as many of them as of trials
    it gives up.

    Args:
        axes: that are searched.
        trials: how many.
        seed: of the search.
        attempt: the trial of a point and its number, from 0; None where the point is no setting.
        known: points whose cost is known.
    """
    search, told, number = Search(axes, trials, seed), list[Told](), 0
    while number < trials and len(told) < 2 * trials:
        point = search.propose(told, known)
        made = attempt(point, number)
        told.append((point, math.inf if made is None else cost(made)))
        if made is not None:
            number += 1
            yield made


def cost(trial: Tried) -> float:
    """What a search is told of a trial: its mean energy score, infinity where a record failed."""
    return math.inf if trial["energy"] is None else float(trial["energy"]["mean"])


def folded(point: np.ndarray, passable: np.ndarray) -> list[float]:
    """A point outside the unit cube mirrored at its faces, but for those that are open.

    Args:
        point: ``(A,)``.
        passable: ``(A, 2)``, whether the lower and the upper end of each axis are open.
    """
    inside = np.abs((point + 1) % 2 - 1)
    out = ((point < 0) & passable[:, 0]) | ((point > 1) & passable[:, 1])
    return [round(float(share), 6) for share in np.where(out, point, inside)]

"""Means of scores with their intervals, and paired differences between runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcs.core.intervals import Column
from fcs.tools.report.finished_run import FinishedRun, Key
from fcs.tools.report.number_format import MINUS, number, signed_number
from fcs.tools.report.score_names import goal, penalty


@dataclass(frozen=True)
class MeanWithInterval:
    """A mean over records with its 95 % bootstrap interval.

    Attributes:
        mean: of the values.
        low, high: ends of the interval; the mean itself where there is a single value.
        n: number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def is_significant(self) -> bool:
        """Whether zero lies outside the interval; never with a single value."""
        return self.n > 1 and (self.low > 0 or self.high < 0)

    @property
    def is_exact(self) -> bool:
        """Whether all values are the same but for rounding."""
        return self.high - self.low <= 1e-9 * max(abs(self.low), abs(self.high))

    @property
    def decimals(self) -> int:
        """Decimals to print, so that the interval's width has three digits."""
        width = self.high - self.low
        return min(9, max(0, 2 - math.floor(math.log10(width)))) if width > 0 else 3

    def text(self, value: float, signed: bool = False) -> str:
        """A value with as many decimals as the interval supports."""
        if self.is_exact or abs(value) >= 1e7:
            return signed_number(value) if signed else number(value)
        return f"{value:{'+' if signed else ''}.{self.decimals}f}".replace("-", MINUS)


@dataclass(frozen=True)
class PairedDifference:
    """The difference of a run from the first one, over the records that both have.

    Attributes:
        values: the run's score minus the first one's, by record.
        mean: their mean.
        better: share of the records where the run is better; None where it is unknown which way is better.
    """

    values: Mapping[Key, float]
    mean: MeanWithInterval
    better: float | None


def mean_with_interval(values: NDArray[np.float64]) -> MeanWithInterval:
    """Mean and interval of at least one value; records are resampled independently."""
    column = Column.of(values.tolist())
    return MeanWithInterval(column.mean, *(column.interval() or (column.mean, column.mean)), column.n)


def differences(run: FinishedRun, first: FinishedRun, name: str) -> dict[Key, float]:
    """A run's score minus the first one's, by record, of the records that have it in both."""
    there = first.scores(name)
    return {key: value - there[key] for key, value in run.scores(name).items() if key in there}


def paired_difference(run: FinishedRun, first: FinishedRun, name: str) -> PairedDifference | None:
    """How a run differs from the first in a score; None where no record has it in both."""
    values = differences(run, first, name)
    if not values:
        return None
    here, there = run.scores(name), first.scores(name)
    gains = [penalty(name, here[key]) < penalty(name, there[key]) for key in values]
    share = sum(gains) / len(gains) if goal(name) != "unknown" else None
    return PairedDifference(values, mean_with_interval(np.fromiter(values.values(), np.float64)), share)

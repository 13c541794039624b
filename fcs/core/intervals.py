"""Confidence intervals around means: by the bootstrap, also for columns that arrive in pieces from many shards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

DRAWS = 2000
FEW = 2000  # up to so many values are kept for the bootstrap; above, the normal interval agrees to three digits
NORMAL = 1.959964  # standard deviations on each side of 95 %


def bootstrap_interval(
    values: Tensor, groups: Tensor, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of values and its percentile interval, groups drawn with replacement.

    Args:
        values: ``(N,)``, one per record.
        groups: ``(N,)`` whole numbers; records of one group (a digit, a glyph) are drawn together.
        draws: bootstrap samples.
        level: of the interval, 0 to 1.
        seed: of the draws.

    Returns:
        (mean, low, high)
    """
    low, high = bootstrap_ratio(values, torch.ones_like(values), groups, draws, level, seed)
    return values.double().mean().item(), low, high


def bootstrap_ratio(
    above: Tensor, below: Tensor, groups: Tensor, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval (low, high) of a ratio of sums, numerator ``(N,)`` and denominator ``(N,)`` drawn together.

    The other arguments are those of ``bootstrap_interval``.
    """
    _, places = torch.unique(groups, return_inverse=True)
    count = int(places.max()) + 1
    tops = torch.zeros(count, dtype=torch.float64).index_add_(0, places, above.double())
    bottoms = torch.zeros(count, dtype=torch.float64).index_add_(0, places, below.double())
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    ratios = tops[drawn].sum(1) / bottoms[drawn].sum(1)
    tail = (1 - level) / 2
    low, high = ratios.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


@dataclass(frozen=True)
class Column:
    """A column of numbers as far as its mean and the interval around it need it; two of them add up to one.

    Attributes:
        n: how many numbers.
        mean: of them, 0 where there are none.
        squares: sum of squared distances from the mean.
        few: the numbers themselves in their order, or None where they are more than 2,000.
    """

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    few: tuple[float, ...] | None = ()

    @classmethod
    def of(cls, values: list[float]) -> Column:
        """Of numbers, in float64."""
        if not values:
            return cls()
        column = torch.tensor(values, dtype=torch.float64)
        mean = column.mean()
        squares = (column - mean).square().sum().item()
        return cls(len(values), mean.item(), squares, tuple(values) if len(values) <= FEW else None)

    def __add__(self, other: Column) -> Column:
        """Of both, by the pairwise update of Chan, Golub and LeVeque 1979."""
        if not self.n or not other.n:
            return self if self.n else other
        n, apart = self.n + other.n, other.mean - self.mean
        mean = self.mean + apart * other.n / n
        squares = self.squares + other.squares + apart**2 * self.n * other.n / n
        kept = self.few is not None and other.few is not None and n <= FEW
        return Column(n, mean, squares, (*self.few, *other.few) if kept else None)  # type: ignore[misc]

    def interval(self) -> tuple[float, float] | None:
        """95 % around the mean: bootstrap percentiles, or the normal ones of more than 2,000; None below two."""
        if self.n < 2:
            return None
        if self.few is not None:
            _, low, high = bootstrap_interval(torch.tensor(self.few, dtype=torch.float64), torch.arange(self.n))
            return low, high
        half = NORMAL * math.sqrt(self.squares / (self.n - 1) / self.n)
        return self.mean - half, self.mean + half

    def facts(self) -> dict[str, float | int | None]:
        """``{mean, n, low, high}``, None for what does not exist."""
        low, high = self.interval() or (None, None)
        return {"mean": self.mean if self.n else None, "n": self.n, "low": low, "high": high}


def total(columns: list[Column]) -> Column:
    """All pieces of a column, in their order."""
    return reduce(Column.__add__, columns, Column())

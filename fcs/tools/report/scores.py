"""What scores are called, which way is better, and their means with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fcs.core.intervals import Column
from fcs.tools.report.charts import MINUS, change, number
from fcs.tools.report.read import FinishedRun, Key

Aim = Literal["higher", "lower", "near 0", "unknown"]
UNITS = {"psnr": "dB", "seam": "grey values", "seconds": "s", "memory": "bytes"}
WORDS = {"nfe": "denoiser calls", "seconds": "seconds a record"}
LETTERS = {"psnr", "ssim", "lpips", "clip", "iou", "fid", "kid"}
_HIGHER = {"psnr", "ssim", "clip", "iou"}
_LOWER = {"residual", "lpips", "style", "nfe", "seconds", "memory"}
_ZERO = {"seam"}


@dataclass(frozen=True)
class Mean:
    """A mean over records, with what is known of it.

    Attributes:
        mean: of the values.
        low, high: 95 % of the bootstrap's means lie between; the mean itself where there is a single value.
        n: number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside of the interval; never by a single value."""
        return self.n > 1 and (self.low > 0 or self.high < 0)

    @property
    def decimals(self) -> int:
        """So many that the interval's width has three digits."""
        width = self.high - self.low
        return min(9, max(0, 2 - math.floor(math.log10(width)))) if width > 0 else 3

    def text(self, value: float, signed: bool = False) -> str:
        """A value as exactly as the interval allows."""
        if self.low == self.high or abs(value) >= 1e7:
            return change(value) if signed else number(value)
        return f"{value:{'+' if signed else ''}.{self.decimals}f}".replace("-", MINUS)


@dataclass(frozen=True)
class Difference:
    """A run beside the first one, by the records that both have.

    Attributes:
        values: the run's score less the first one's, by record.
        mean: of these.
        better: share of the records where the run is better; None where nothing says which way that is.
    """

    values: Mapping[Key, float]
    mean: Mean
    better: float | None


def title(name: str) -> str:
    """A score's name for people: ``psnr_generated`` is ``PSNR, generated``."""
    if name in WORDS:
        return WORDS[name]
    head, *rest = name.split("_")
    return ", ".join([head.upper() if head in LETTERS else head, *([" ".join(rest)] if rest else [])])


def unit(name: str) -> str:
    """In what a score is measured; empty where it is a bare number."""
    return UNITS.get(name.partition("_")[0], "")


def axis(name: str) -> str:
    """What an axis with this score says."""
    return " in ".join(filter(None, (title(name), unit(name))))


def aim(name: str) -> Aim:
    """What a score is better for being."""
    head = name.partition("_")[0]
    return "higher" if head in _HIGHER else "lower" if head in _LOWER else "near 0" if head in _ZERO else "unknown"


def badness(name: str, value: float) -> float:
    """What is smaller for the better of two values; the value itself where nothing says which is."""
    return {"higher": -value, "near 0": abs(value)}.get(aim(name), value)


def mean(values: NDArray[np.float64]) -> Mean:
    """Mean and interval of at least one value, each record drawn by itself."""
    column = Column.of(values.tolist())
    return Mean(column.mean, *(column.interval() or (column.mean, column.mean)), column.n)


def paired(run: FinishedRun, first: FinishedRun, name: str) -> dict[Key, float]:
    """A run's score less the first one's, by record, of those that have it in both."""
    there = first.values(name)
    return {key: value - there[key] for key, value in run.values(name).items() if key in there}


def difference(run: FinishedRun, first: FinishedRun, name: str) -> Difference | None:
    """How a run differs from the first in a score; None where no record has it in both."""
    values = paired(run, first, name)
    if not values:
        return None
    here, there = run.values(name), first.values(name)
    gains = [badness(name, here[key]) < badness(name, there[key]) for key in values]
    share = sum(gains) / len(gains) if aim(name) != "unknown" else None
    return Difference(values, mean(np.fromiter(values.values(), np.float64)), share)

"""The scores of all runs: means with intervals on one scale, and the paired differences from the first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fcs.tools.report.charts import Chart, Scale, Values, histogram
from fcs.tools.report.read import COSTS, FinishedRun
from fcs.tools.report.scores import Aim, Difference, Mean, aim, axis, difference, mean, title, unit


@dataclass(frozen=True)
class Whisker:
    """A mean and its interval on a row's scale.

    Attributes:
        mean: the numbers.
        low, at, high: their places, 0 to 100.
    """

    mean: Mean
    low: float
    at: float
    high: float


@dataclass(frozen=True)
class Beside:
    """A run's paired difference from the first.

    Attributes:
        whisker: the mean difference and its interval.
        better: share of the records where this run is better; None where nothing says which way that is.
        verdict: ``better`` or ``worse`` where the interval has no zero in it and better is known; else "".
    """

    whisker: Whisker
    better: float | None
    verdict: str


@dataclass(frozen=True)
class ScoreRow:
    """A score.

    Attributes:
        name, title, unit, aim: of the score.
        cells: by run; None where a run has not got it.
        beside: by run, None for the first one, and where no record has the score in both.
        zero: place of no difference, 0 to 100.
        records: how often each value comes; None where all are the same.
        differences: how often each difference comes; None likewise, or with a single run.
    """

    name: str
    title: str
    unit: str
    aim: Aim
    cells: tuple[Whisker | None, ...]
    beside: tuple[Beside | None, ...]
    zero: float
    records: Chart | None
    differences: Chart | None


def scoreboard(runs: Sequence[FinishedRun]) -> list[ScoreRow]:
    """A row for each score that one of the runs has; what records cost only beside other runs."""
    names = dict.fromkeys(name for run in runs for name in run.scores)
    return [_row(runs, name) for name in names if len(runs) > 1 or name not in COSTS]


def _row(runs: Sequence[FinishedRun], name: str) -> ScoreRow:
    values = {number: run.numbers(name) for number, run in enumerate(runs)}
    means = [mean(own) if len(own) else None for own in values.values()]
    scale = _scale(means, zero=False)
    differences = [None, *(difference(run, runs[0], name) for run in runs[1:])]
    beside = _scale([found.mean for found in differences if found], zero=True)
    return ScoreRow(
        name,
        title(name),
        unit(name),
        aim(name),
        tuple(None if own is None else _whisker(own, scale) for own in means),
        tuple(None if found is None else _beside(found, beside, name) for found in differences),
        beside(0.0),
        *(None, None) if name in COSTS else _charts(name, values, means, differences),
    )


def _charts(
    name: str, values: Mapping[int, Values], means: Sequence[Mean | None], differences: Sequence[Difference | None]
) -> tuple[Chart | None, Chart | None]:
    alone = means[0] if len(means) == 1 else None
    band = None if alone is None else (alone.low, alone.mean, alone.high)
    apart = {run: np.fromiter(own.values.values(), np.float64) for run, own in enumerate(differences) if own}
    records = histogram(values, f"Records by {title(name)}", axis(name), band)
    return records, histogram(apart, f"Records by difference of {title(name)}", f"difference of {axis(name)}")


def _scale(means: Sequence[Mean | None], zero: bool) -> Scale:
    """From left of the lowest end to right of the highest."""
    ends = [end for own in means if own is not None for end in (own.low, own.high)] + ([0.0] if zero else [])
    return Scale(min(ends), max(ends), 6.0, 94.0) if ends else Scale(0.0, 1.0, 6.0, 94.0)


def _whisker(own: Mean, scale: Scale) -> Whisker:
    return Whisker(own, scale(own.low), scale(own.mean), scale(own.high))


def _beside(found: Difference, scale: Scale, name: str) -> Beside:
    clear = found.mean.is_clear and aim(name) in ("higher", "lower")
    good = (found.mean.mean > 0) == (aim(name) == "higher")
    verdict = ("better" if good else "worse") if clear else ""
    return Beside(_whisker(found.mean, scale), found.better, verdict)

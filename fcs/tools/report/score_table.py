"""The table of scores: a mean with its interval for each run, and paired differences from the first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fcs.tools.report.charts import Chart, Scale, Values, histogram
from fcs.tools.report.finished_run import COSTS, FinishedRun
from fcs.tools.report.score_names import Goal, axis_label, goal, title, unit
from fcs.tools.report.score_statistics import (
    MeanWithInterval,
    PairedDifference,
    mean_with_interval,
    paired_difference,
)


@dataclass(frozen=True)
class ErrorBar:
    """A mean and its interval, drawn on the scale of its row.

    Attributes:
        mean: the numbers.
        low, at, high: places of the interval's ends and of the mean, 0 to 100.
    """

    mean: MeanWithInterval
    low: float
    at: float
    high: float


@dataclass(frozen=True)
class RunDifference:
    """A run's paired difference from the first.

    Attributes:
        bar: the mean difference and its interval.
        better: share of the records where this run is better; None where it is unknown which way is better.
        verdict: ``better`` or ``worse`` where the difference is significant and it is known which way is better;
            else "".
    """

    bar: ErrorBar
    better: float | None
    verdict: str


@dataclass(frozen=True)
class ScoreRow:
    """A score.

    Attributes:
        name, title, unit, goal: of the score.
        means: by run; None where a run does not have the score.
        differences: by run; None for the first one, and where no record has the score in both.
        zero: place of no difference, 0 to 100.
        histogram: of the values; None where all are the same.
        difference_histogram: of the differences; None likewise, or with a single run.
    """

    name: str
    title: str
    unit: str
    goal: Goal
    means: tuple[ErrorBar | None, ...]
    differences: tuple[RunDifference | None, ...]
    zero: float
    histogram: Chart | None
    difference_histogram: Chart | None


def score_table(runs: Sequence[FinishedRun]) -> list[ScoreRow]:
    """A row for each score that one of the runs has; the records' costs only where there are several runs."""
    names = dict.fromkeys(name for run in runs for name in run.score_names)
    return [_row(runs, name) for name in names if len(runs) > 1 or name not in COSTS]


def infinite_scores(runs: Sequence[FinishedRun]) -> list[str]:
    """Sentences about the PSNRs that are infinite, and so are in no mean."""
    names = dict.fromkeys(name for run in runs for name in run.rows.column_names if name.startswith("psnr"))
    found = [(name, run, run.infinite(name)) for name in names for run in runs]
    return [
        f"{title(name)}: infinite for {count} of {run.succeeded.num_rows} records"
        + (f" of {run.name}" if len(runs) > 1 else "")
        + ", since these pixels equal the reference's."
        for name, run, count in found
        if count
    ]


def _row(runs: Sequence[FinishedRun], name: str) -> ScoreRow:
    values = {number: run.score_values(name) for number, run in enumerate(runs)}
    means = [mean_with_interval(own) if len(own) else None for own in values.values()]
    scale = _scale(means, zero=False)
    differences = [None, *(paired_difference(run, runs[0], name) for run in runs[1:])]
    difference_scale = _scale([found.mean for found in differences if found], zero=True)
    return ScoreRow(
        name,
        title(name),
        unit(name),
        goal(name),
        tuple(None if own is None else _error_bar(own, scale) for own in means),
        tuple(None if found is None else _run_difference(found, difference_scale, name) for found in differences),
        difference_scale(0.0),
        *(None, None) if name in COSTS else _histograms(name, values, means, differences),
    )


def _histograms(
    name: str,
    values: Mapping[int, Values],
    means: Sequence[MeanWithInterval | None],
    differences: Sequence[PairedDifference | None],
) -> tuple[Chart | None, Chart | None]:
    single = means[0] if len(means) == 1 else None
    band = None if single is None else (single.low, single.mean, single.high)
    apart = {run: np.fromiter(own.values.values(), np.float64) for run, own in enumerate(differences) if own}
    label = axis_label(name)
    records = histogram(values, f"Records by {title(name)}", label, band)
    return records, histogram(apart, f"Records by difference of {title(name)}", f"difference of {label}")


def _scale(means: Sequence[MeanWithInterval | None], zero: bool) -> Scale:
    """From left of the lowest end to right of the highest."""
    ends = [end for own in means if own is not None for end in (own.low, own.high)] + ([0.0] if zero else [])
    return Scale(min(ends), max(ends), 6.0, 94.0) if ends else Scale(0.0, 1.0, 6.0, 94.0)


def _error_bar(own: MeanWithInterval, scale: Scale) -> ErrorBar:
    return ErrorBar(own, scale(own.low), scale(own.mean), scale(own.high))


def _run_difference(found: PairedDifference, scale: Scale, name: str) -> RunDifference:
    decided = found.mean.is_significant and goal(name) in ("higher", "lower")
    good = (found.mean.mean > 0) == (goal(name) == "higher")
    verdict = ("better" if good else "worse") if decided else ""
    return RunDifference(_error_bar(found.mean, scale), found.better, verdict)

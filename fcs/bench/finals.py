"""The best few of many trials once more, on more records: the luckiest of many is seldom the best."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fcs.bench.paired import differences
from fcs.bench.rows import evaluated, own
from fcs.bench.search import cost
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError

FINALISTS = 5  # that run once more, beside the first
TIMES = 4  # as many records as in a trial
Report = dict[str, Any]


def fewest_trials() -> int:
    """Trials of which some are left out of the finals, so that there is a choice."""
    return FINALISTS + 1


def judged(trial: Trial) -> Report | None:
    """The evaluation of a trial, made if it is not there yet; None where a record failed. Its pictures are not kept.

    Raises:
        RunFailed: a run ended early.
    """
    report = evaluated(trial)
    for seed in trial.seeds:
        shutil.rmtree(trial.out / f"seed-{seed}", ignore_errors=True)
    return None if report is None or report["failed"] else report


def energy(report: Report | None) -> dict[str, float] | None:
    """The energy score of an evaluation, with its interval; None without one."""
    found: dict[str, float] | None = None if report is None else report[f"energy_{own(report)}"]
    return found


def finals(tried: Sequence[dict[str, Any]], again: Callable[[dict[str, Any]], Trial]) -> list[dict[str, Any]]:
    """The first trial and the best of the others on more records; those of which no record failed.

    Args:
        tried: all trials, with their ``energy``.
        again: one of them, in a folder of its own.

    Returns:
        The trials with that ``energy``, and its paired difference ``to_the_first``.
    """
    whole = (trial for trial in tried[1:] if trial["energy"] is not None)
    ranked = sorted(whole, key=cost)
    found: list[dict[str, Any]] = []
    reference: Report | None = None
    for trial in [tried[0], *ranked[:FINALISTS]]:
        longer = final(again(trial))
        report = judged(longer)
        if report is None:
            continue
        reference = reference or report
        apart = differences(report["single"], reference["single"])[f"energy_{own(report)}"]
        facts = {"energy": energy(report), "to_the_first": apart, "seeds": list(longer.seeds)}
        found.append({**trial, **facts, "records": report["records"]})
    return found


def final(trial: Trial) -> Trial:
    """A trial with as many other seeds, on ``TIMES`` as many records, or on all that there are."""
    limit, count = trial.loaded[0].data.limit, len(trial.seeds)
    first = max(trial.seeds) + 1
    more = () if limit is None else (f"data.limit={TIMES * limit}",)
    return replace(trial, overrides=(*trial.overrides, *more), seeds=tuple(range(first, first + count)))


def best(finalists: Sequence[dict[str, Any]], where: object) -> dict[str, Any]:
    """The finalist with the smallest mean energy score.

    Args:
        finalists: as ``finals`` gives them.
        where: their folder, for the error.

    Raises:
        UsageError: there is none.
    """
    if not finalists:
        raise UsageError(f"{where}: records failed in every setting; their errors are in the rows of its runs")
    return min(finalists, key=cost)

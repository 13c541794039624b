"""Differences between evaluations on the same records, with bootstrap intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcs.bench.posterior import tv_difference
from fcs.core.intervals import bootstrap_interval, bootstrap_ratio

Interval = dict[str, float]
STYLED = ("style", "clip")  # where there is no truth: distance to the style, nearness to the prompt
# Figures that are kept for each record.
PAIRED = ("energy_own", "energy_random", "retrieval", "consistency", *STYLED, "psnr")
CLOSED, SURELY = 0.95, 0.8  # share of the gap to close, and the least lower bound of its interval


def interval(values: Tensor, groups: Tensor, level: float = 0.95) -> Interval:
    """Mean and bootstrap interval over groups."""
    mean, low, high = bootstrap_interval(values, groups, level=level)
    return {"mean": mean, "low": low, "high": high}


def intervals(figures: dict[str, Tensor], groups: Tensor) -> dict[str, Interval | None]:
    """Mean and interval of each figure ``(N,)`` over the records that have it; None where none has."""
    found: dict[str, Interval | None] = {}
    for name, values in figures.items():
        there = ~values.isnan()
        found[name] = interval(values[there], groups[there]) if there.any() else None
    return found


def differences(here: dict[str, Any], there: dict[str, Any], level: float = 0.95) -> dict[str, Any]:
    """Mean and interval of one evaluation minus another, over the records that both have; without what is NaN.

    ``tv`` is of the total variation of attributes that masks hide, where evaluations have it.

    Args:
        here: ``single`` of an evaluation: figures by name, with the records' names and groups.
        there: the same of the other.
        level: of the interval.
    """
    found: dict[str, Any] = {"records": len(set(here["record"]) & set(there["record"]))}
    for figure in PAIRED:
        if figure in here and figure in there:
            (mine, theirs), groups = aligned([here, there], figure)
            values = mine - theirs
            known = ~values.isnan()
            if known.any():
                found[figure] = interval(values[known], groups[known], level)
    first, second = (
        {name: np.array(part)[places] for name, part in one.get("excess", {}).items()}
        for one, places in zip((here, there), common_places([here, there]), strict=True)
    )
    if first.keys() & second.keys():
        found["tv"] = tv_difference(first, second)
    return found


def common_places(evaluations: list[dict[str, Any]]) -> list[list[int]]:
    """Where each evaluation has the records that all of them have, in the order of the first."""
    places = [{name: place for place, name in enumerate(one["record"])} for one in evaluations]
    common = [name for name in evaluations[0]["record"] if all(name in place for place in places)]
    return [[place[name] for name in common] for place in places]


def aligned(evaluations: list[dict[str, Any]], figure: str) -> tuple[list[Tensor], Tensor]:
    """A figure of each evaluation's records that all of them have, ``(N,)`` each, and the records' groups.

    Args:
        evaluations: what ``evaluate.json`` holds under ``single``.
        figure: one of its figures.
    """
    places = common_places(evaluations)
    values = [torch.tensor(one[figure], dtype=torch.float64)[own] for one, own in zip(evaluations, places, strict=True)]
    return values, torch.tensor(evaluations[0]["group"])[places[0]]


def gap_closed(worst: Tensor, best: Tensor, found: Tensor, groups: Tensor) -> dict[str, Any]:
    """The gap from ``worst`` to ``best``, and the share of it that ``found`` closes, with bootstrap intervals.

    ``equal`` is None where the gap's own interval includes 0, so that the records cannot decide; else whether
    ``found`` closes at least 95 % of it, with a lower bound of at least 80 %.

    Args:
        worst, best, found: a figure of each record, ``(N,)``, smaller is better.
        groups: records that the bootstrap draws together, ``(N,)``.
    """
    gap, difference = interval(worst - best, groups), interval(found - best, groups)
    mean = ((worst - found).mean() / (worst - best).mean()).item()
    low, high = bootstrap_ratio(worst - found, worst - best, groups)
    equal = mean >= CLOSED and low >= SURELY if gap["low"] > 0 else None
    share = {"mean": mean, "low": low, "high": high}
    return {"records": len(found), "gap": gap, "difference": difference, "share": share, "equal": equal}

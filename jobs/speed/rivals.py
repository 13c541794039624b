"""Records a second of a sampler over those of others, each at a budget of its own, through the same fcs-predict."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fcs.bench.comparison import Comparison
from fcs.bench.methods import METHODS, Method
from fcs.bench.tasks import setup
from fcs.core.errors import UsageError
from speed.pipeline import Setting, steady
from speed.timing import Spent, in_turn, median, ratio


def rivals(
    setting: Setting, names: list[str], tuned: Path | None, shard: Path, batches: int, repeats: int
) -> list[dict[str, Any]]:
    """A row for each of ``METHOD@CALLS``; how many times as fast as each the first is, by ratios within rounds.

    Args:
        setting: model, batch, type; nothing is compiled.
        names: at their published settings, or at those of ``tuned``.
        tuned: folder of `fcs-bench tune`.
        shard: records of ``batches + 1`` batches.
        batches: after the first, in each measurement.
        repeats: rounds.

    Raises:
        UsageError: a name that is none, or whose calls do not pay for a level.
    """
    eager = replace(setting, compile=False, cuda_graphs=False)
    made = {name: arguments(eager, name, tuned, shard) for name in names}

    def cell(name: str) -> Spent:
        total, counted = steady(made[name], setting.work / "run")
        return total / (counted * setting.batch)

    found = in_turn({name: partial(cell, name) for name in made}, repeats)
    first = found[names[0]]
    return [
        {
            "name": name,
            "seconds_a_record": median(times),
            "times": ratio(times, first),
            "times_by_cpu": ratio(times, first, "cpu"),
        }
        for name, times in found.items()
    ]


def arguments(setting: Setting, name: str, tuned: Path | None, shard: Path) -> list[str]:
    """Of fcs-predict, for ``METHOD@CALLS``.

    Raises:
        UsageError: a name that is none, or whose calls do not pay for a level.
    """
    method, calls = parsed(name)
    comparison = Comparison(setup(setting.model, "inpaint", str(shard)), (0,), setting.work, tuned=tuned)
    candidate = comparison.candidate(method, calls)
    if candidate.levels is None:
        raise UsageError.of("--rivals", name, f"calls that {method.name} can do with: {', '.join(candidate.notes)}")
    trial = comparison.trial(candidate)
    return ["--config", trial.config, *trial.settings, *setting.common(setting.work / "run")]


def parsed(name: str) -> tuple[Method, int]:
    """Method and calls of ``METHOD@CALLS``.

    Raises:
        UsageError: it is not of that form.
    """
    method, _, calls = name.partition("@")
    if method not in METHODS or not calls.isdecimal():
        raise UsageError.of("--rivals", name, f"METHOD@CALLS, with one of {', '.join(METHODS)}")
    return METHODS[method], int(calls)


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    line = "{first} is {times:.2f} times as fast as {name} ({times_by_cpu:.2f} by CPU time)"
    return "\n".join(line.format(first=rows[0]["name"], **row) for row in rows[1:])

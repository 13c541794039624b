"""``fcs-bench tune``: settings for each method on training data, the same number of trials for all."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.bench.comparison import TRIALS, Candidate, Comparison, named
from fcs.bench.finals import best, energy, finals, judged
from fcs.bench.methods import Method, chosen_methods
from fcs.bench.options import budgets, listed_seeds, one, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.search import Tried, cost, searched
from fcs.bench.tasks import setup
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError


@dataclass(frozen=True)
class Tuning:
    """How methods are tuned.

    Attributes:
        comparison: what all have in common.
        budget: calls of each trial, a backward counted as two; None for the published number of levels.
        trials: of each method, its published setting among them.
        draw: seed of the settings.
    """

    comparison: Comparison
    budget: int | None
    trials: int
    draw: int

    def tried(self, method: Method) -> Iterator[Tried]:
        """The trials: the published setting, then what the search proposes; none if it cannot take part.

        A setting of which the budget buys no level is no trial.
        """
        first = self.comparison.candidate(method, self.budget)
        if first.levels is None:
            return
        made = self._trial(first, 1, method.point(first.setting))
        yield made
        if not method.space:
            return
        known = [] if made["point"] is None else [(made["point"], cost(made))]

        def attempt(point: list[float], number: int) -> Tried | None:
            candidate = self._candidate(method, point)
            return None if candidate.levels is None else self._trial(candidate, number + 2, point)

        yield from searched(method.space, self.trials - 1, self.draw, attempt, known)

    def finals(self, method: Method, tried: list[Tried]) -> list[Tried]:
        """The published setting and the best few others on more records."""
        if len(tried) < 2:
            return tried

        def again(made: Tried) -> Trial:
            candidate = Candidate(method, self.budget, made["levels"], made["setting"])
            return self.comparison.trial(candidate, f"{method.name}/final-{made['trial']:02d}")

        return finals(tried, again)

    def _candidate(self, method: Method, point: list[float]) -> Candidate:
        def setting(levels: int) -> dict[str, float]:
            return method.setting(point, levels, self.comparison.setup.superres)

        levels = method.levels if self.budget is None else method.levels_for(self.budget, setting)
        return Candidate(method, self.budget, levels, setting(levels or 1))

    def _trial(self, candidate: Candidate, number: int, point: list[float] | None) -> Tried:
        report = judged(self.comparison.trial(candidate, f"{candidate.method.name}/{number:02d}"))
        assert candidate.levels is not None
        sampler = candidate.method.build(candidate.setting)
        return {
            "trial": number,
            "point": point,
            "setting": candidate.setting,
            "levels": candidate.levels,
            "calls": sampler.calls(candidate.levels),
            "backwards": sampler.backwards(candidate.levels),
            "energy": energy(report),
            "chosen": False,
        }


def marked(method: Method, trials: list[Tried], finalists: list[Tried], where: Path) -> list[Tried]:
    """The trials with the best finalist chosen, and which of its numbers lie beyond the range written down."""
    chosen = best(finalists, where)
    facts: Tried = {"chosen": True, "finals": {str(final["trial"]): final["energy"] for final in finalists}}
    if chosen["point"] is not None:
        pairs = zip(method.space, chosen["point"], strict=True)
        facts["beyond"] = [axis.name for axis, share in pairs if not 0 <= share <= 1]
    return [{**one, **facts} if one["trial"] == chosen["trial"] else one for one in trials]


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run all trials, writing what is known after each method.

    Raises:
        UsageError: an option that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    where, seeds = setup(options.model, options.task, options.data), listed_seeds(options.seeds)
    if not where.truth:
        raise UsageError.of("--task", options.task, "a task with a truth to tune against")
    if len(seeds) < 2:
        raise UsageError.of("--seeds", options.seeds, "two or more, for an energy score")
    budget, *more = budgets(options.calls)
    if more:
        raise UsageError.of("--calls", options.calls, "one budget")
    trials, records = one(options.trials, "--trials"), one(options.limit, "--limit")
    (draw,) = whole(options.draw, "--draw")[:1]
    out = Path(options.out)
    comparison = Comparison(where, seeds, out, (f"data.limit={records}", *overrides), options.captions)
    methods = [method.within(where.inpaints) for method in chosen_methods(options.methods)]
    # What an earlier command found for other methods stays, if it was on the same things.
    facts: dict[str, Any] = {
        "model": where.model,
        "task": where.task,
        "data": where.data,
        "calls": named(budget),
        "records": records,
    }
    facts |= {"seeds": list(seeds), "draw": draw, "captions": options.captions, "overrides": overrides}
    known = earlier(out, facts)
    tuning = Tuning(comparison, budget, trials, draw)
    for method in methods:
        done = list(tuning.tried(method))
        if not done:
            print(f"{method.name}: cannot take part", flush=True)
            continue
        known[method.name] = marked(method, done, tuning.finals(method, done), out)
        write_json(out / TRIALS, {**origin(), **facts, "methods": known})
        print(method.name, *(one["setting"] for one in known[method.name] if one["chosen"]), flush=True)


def earlier(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Trials by method that an earlier command left in the folder.

    Raises:
        UsageError: they are of something else.
    """
    path = out / TRIALS
    kept = json.loads(path.read_text()) if path.exists() else {**facts, "methods": {}}
    if {key: kept.get(key) for key in facts} != facts:
        raise UsageError.of("--out", out, "a folder of its own for other trials than those in it")
    methods: dict[str, Any] = kept["methods"]
    return methods

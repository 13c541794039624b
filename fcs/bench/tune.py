"""``fcs-bench tune``: settings for each method on training data, the same number of trials for all."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from scipy.stats import qmc

from fcs.bench.comparison import TRIALS, Candidate, Comparison, named
from fcs.bench.methods import Method, chosen_methods
from fcs.bench.options import budgets, one, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.rows import evaluated, own
from fcs.bench.tasks import setup
from fcs.core.errors import UsageError


def shares(method: Method, count: int, seed: int) -> list[list[float]]:
    """Points in the unit cube of the method's space, the same for the same seed; none without a space."""
    if not method.space:
        return []
    return qmc.Halton(len(method.space), scramble=True, rng=seed).random(count).tolist()


def tried(comparison: Comparison, method: Method, budget: int | None, trials: int, seed: int) -> list[Candidate]:
    """The published setting, then others, each with the levels that the budget buys; none if it cannot take part."""
    first = comparison.candidate(method, budget)
    found = [] if first.levels is None else [first]
    for point in shares(method, trials - 1, seed) if found else []:

        def setting(levels: int, point: list[float] = point) -> dict[str, float]:
            return method.setting(point, levels, comparison.setup.superres)

        levels = method.levels if budget is None else method.levels_for(budget, setting)
        if levels is not None:
            found.append(Candidate(method, budget, levels, setting(levels)))
    return found


def trial(comparison: Comparison, candidate: Candidate, number: int) -> dict[str, Any]:
    """One trial: its setting, cost and energy score, None where a record failed."""
    report = evaluated(comparison.trial(candidate, f"{candidate.method.name}/{number:02d}"))
    assert candidate.levels is not None
    sampler = candidate.method.build(candidate.setting)
    energy = None if report is None or report["failed"] else report[f"energy_{own(report)}"]
    return {
        "trial": number,
        "setting": candidate.setting,
        "levels": candidate.levels,
        "calls": sampler.calls(candidate.levels),
        "backwards": sampler.backwards(candidate.levels),
        "energy": energy,
        "failed": None if report is None else report["failed"],
        "chosen": False,
    }


def marked(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials with the best one chosen; none if all have failed records."""
    whole = [one for one in trials if one["energy"] is not None]
    best = min(whole, key=lambda one: one["energy"]["mean"], default=None)
    return [{**one, "chosen": one is best} for one in trials]


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run all trials, writing what is known after each.

    Raises:
        UsageError: an option that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    where, seeds = setup(options.model, options.task, options.data), whole(options.seeds, "--seeds")
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
    methods = chosen_methods(options.methods)
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
    for method in methods:
        done: list[dict[str, Any]] = []
        for number, candidate in enumerate(tried(comparison, method, budget, trials, draw), 1):
            done.append(trial(comparison, candidate, number))
            known[method.name] = marked(done)
            write_json(out / TRIALS, {**origin(), **facts, "methods": known})
        best = [one for one in known.get(method.name, []) if one["chosen"]]
        print(method.name, best[0]["setting"] if best else "nothing chosen", flush=True)


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

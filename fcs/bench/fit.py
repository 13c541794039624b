"""``fcs-bench fit``: a model's own setting of a sampler for a number of calls, found by search."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.bench.fit_space import SPACES, Fitted, Space
from fcs.bench.methods import dotted
from fcs.bench.options import one, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.own_records import own_records
from fcs.bench.paired import differences
from fcs.bench.presets import write_preset
from fcs.bench.rows import evaluated, own
from fcs.bench.search import Search
from fcs.bench.tasks import Setup, setup
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError

FINALISTS = 3  # that are run once more with other seeds, beside the default
Told = tuple[list[float], float]


@dataclass(frozen=True)
class Fitting:
    """What all trials have in common.

    Attributes:
        setup: model, task and records.
        overrides: of the task's config.
        seeds: of the trials; finalists have as many others.
        calls: a record.
        out: folder.
        captions: give the records' prompts to the model.
        space: the settings that are searched.
    """

    setup: Setup
    overrides: tuple[str, ...]
    seeds: tuple[int, ...]
    calls: int
    out: Path
    captions: bool
    space: Space

    def energy(self, fitted: Fitted, name: str, seeds: Sequence[int]) -> dict[str, Any] | None:
        """The evaluation of a setting, made if it is not there yet; None where a record failed."""
        own_settings = (*dotted("sampler", fitted.sampler), f"steps={fitted.steps}")
        given = (*self.setup.overrides, *self.overrides, *own_settings)
        trial = Trial(self.setup.config, given, tuple(seeds), self.out / name, self.captions)
        report = evaluated(trial)
        for seed in seeds:
            shutil.rmtree(trial.out / f"seed-{seed}", ignore_errors=True)  # the evaluation is kept
        return None if report is None or report["failed"] else report


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Search, run the best few once more, write the winner as a config.

    Raises:
        UsageError: an option that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    fit, trials, draw = _read(options, overrides)
    search = Search(len(fit.space.axes), trials - 1, draw)
    told: list[Told] = []
    tried = [_trial(fit, fit.space.default(fit.calls), None, 0)]
    for number in range(1, trials):
        point = search.propose(told)
        tried.append(_trial(fit, fit.space.at(point, fit.calls), point, number))
        told.append((point, tried[-1]["energy"] if tried[-1]["energy"] is not None else math.inf))
        _write(fit, tried, [])
    finals = _finals(fit, tried)
    _write(fit, tried, finals)
    best = min(finals, key=lambda final: final["energy"]["mean"])
    path = fit.out / f"{fit.setup.config}_{fit.calls}.yaml"
    write_preset(path, fit.setup, best["sampler"], best["steps"], _header(fit, tried, best))
    print(f"{path}: {best['energy']['mean']:.4g}, the default {finals[0]['energy']['mean']:.4g}")


def _read(options: argparse.Namespace, overrides: list[str]) -> tuple[Fitting, int, int]:
    calls, records = one(options.calls, "--calls"), one(options.limit, "--limit")
    space = _space(options.sampler, options.task)
    if calls < space.least:
        raise UsageError.of("--calls", options.calls, f"{space.least} or more")
    seeds, trials = whole(options.seeds, "--seeds"), one(options.trials, "--trials")
    if len(seeds) < 2:
        raise UsageError.of("--seeds", options.seeds, "two or more, for an energy score")
    if trials <= FINALISTS:
        raise UsageError.of("--trials", options.trials, f"{FINALISTS + 1} or more")
    (draw,) = whole(options.draw, "--draw")[:1]
    out = Path(options.out)
    where = setup(options.model, options.task, options.data or f"{out}/records/*/*.tar")
    if not where.truth:
        raise UsageError.of("--task", options.task, "a task with a truth to fit against")
    if options.data is None:
        own_records(where, records, draw, out / "records")
    given = (f"data.limit={records}", *overrides)
    return Fitting(where, given, seeds, calls, out, options.captions, space), trials, draw


def _space(name: str | None, task: str) -> Space:
    """The one asked for, or Newton-Krylov's where pixels are known, which it needs, and else projected Newton's."""
    inpaints = task.startswith("inpaint")
    name = name or ("krylov" if inpaints else "projected")
    if name not in SPACES:
        raise UsageError.of("--sampler", name, f"one of {', '.join(SPACES)}", SPACES)
    if name == "krylov" and not inpaints:
        raise UsageError.of(
            "--sampler", name, f"projected for {task}; krylov is for inpainting, where pixels are known"
        )
    return SPACES[name]


def _trial(fit: Fitting, fitted: Fitted, point: list[float] | None, number: int) -> dict[str, Any]:
    report = fit.energy(fitted, f"trials/{number:03d}", fit.seeds)
    energy = None if report is None else report[f"energy_{own(report)}"]["mean"]
    facts = {"trial": number, "point": point, "steps": fitted.steps, "sampler": fitted.sampler}
    return {**facts, "calls": fitted.calls, "energy": energy}


def _finals(fit: Fitting, tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The default and the best trials, with other noise: the luckiest of many is seldom the best."""
    others = [seed + max(fit.seeds) + 1 for seed in range(len(fit.seeds))]
    ranked = sorted((trial for trial in tried[1:] if trial["energy"] is not None), key=lambda trial: trial["energy"])
    finals: list[dict[str, Any]] = []
    reference: dict[str, Any] | None = None
    for trial in [tried[0], *ranked[:FINALISTS]]:
        report = fit.energy(
            Fitted(trial["steps"], trial["sampler"], trial["calls"]), f"finals/{trial['trial']:03d}", others
        )
        if report is None:
            continue
        reference = reference or report
        figure = f"energy_{own(report)}"
        apart = differences(report["single"], reference["single"])[figure]
        finals.append({**trial, "energy": report[figure], "to_the_first": apart, "seeds": others})
    if not finals:
        raise UsageError(f"{fit.out}: records failed in every setting; their errors are in the rows of its runs")
    return finals


def _write(fit: Fitting, tried: list[dict[str, Any]], finals: list[dict[str, Any]]) -> None:
    facts: dict[str, Any] = {
        "model": fit.setup.model,
        "task": fit.setup.task,
        "data": fit.setup.data,
        "calls": fit.calls,
        "sampler": fit.space.sampler,
    }
    facts |= {"seeds": list(fit.seeds), "captions": fit.captions, "overrides": list(fit.overrides)}
    write_json(fit.out / "fit.json", {**origin(), **facts, "trials": tried, "finals": finals})


def _header(fit: Fitting, tried: list[dict[str, Any]], best: dict[str, Any]) -> tuple[str, str]:
    first = f"{fit.space.title} for {fit.setup.model}, {fit.setup.task}: {best['calls']} calls a record."
    here = origin()
    energy, apart = best["energy"], best["to_the_first"]
    text = (
        f"The best of {len(tried)} settings by fcs-bench fit. On its records with other seeds: energy score "
        f"{energy['mean']:.3g} ({energy['low']:.3g} to {energy['high']:.3g}), minus that of the sampler's defaults at "
        f"as many calls {apart['mean']:.3g} ({apart['low']:.3g} to {apart['high']:.3g}) "
        f"({here['date']}, {here['hardware']})."
    )
    return first, text

"""``fcs-bench fit``: a model's own setting of a sampler for a number of calls, found by search."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.bench.finals import TIMES, best, energy, fewest_trials, finals, judged
from fcs.bench.fit_space import SPACES, Fitted, Space
from fcs.bench.methods import dotted, own_defaults
from fcs.bench.options import listed_seeds, one, refuse_lost, whole
from fcs.bench.origin import origin, write_json
from fcs.bench.own_records import own_records
from fcs.bench.presets import write_preset
from fcs.bench.search import searched
from fcs.bench.tasks import Setup, inpaints, setup
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError


@dataclass(frozen=True)
class Fitting:
    """What all trials have in common.

    Attributes:
        setup: model, task and records.
        overrides: of the task's config.
        seeds: of the trials.
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

    def trial(self, fitted: Fitted, name: str) -> Trial:
        """A setting to be evaluated.

        Raises:
            UsageError: an override of what is fitted.
        """
        own_settings = (*dotted("sampler", fitted.sampler), f"steps={fitted.steps}")
        refuse_lost(self.overrides, own_settings, "fit")
        given = (*self.setup.overrides, *own_defaults(self.space.sampler), *self.overrides, *own_settings)
        return Trial(self.setup.config, given, self.seeds, self.out / name, self.captions)

    def again(self, made: dict[str, Any]) -> Trial:
        """What was tried, once more."""
        return self.trial(Fitted(made["steps"], made["sampler"], made["calls"]), f"finals/{made['trial']:03d}")


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Search, run the best few once more, write the winner as a config.

    Raises:
        UsageError: an option that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    fit, trials, draw = _read(options, overrides)
    tried = [_trial(fit, fit.space.default(fit.calls), None, 0)]

    def attempt(point: list[float], number: int) -> dict[str, Any]:
        return _trial(fit, fit.space.at(point, fit.calls), point, number + 1)

    for made in searched(fit.space.axes, trials - 1, draw, attempt):
        tried.append(made)
        _write(fit, tried, [])
    finalists = finals(tried, fit.again)
    _write(fit, tried, finalists)
    winner = best(finalists, fit.out)
    path = fit.out / f"{fit.setup.config}_{fit.calls}.yaml"
    write_preset(path, fit.setup, fit.again(winner).loaded[1], _header(fit, tried, winner))
    print(f"{path}: {winner['energy']['mean']:.4g}, the default {finalists[0]['energy']['mean']:.4g}")


def _read(options: argparse.Namespace, overrides: list[str]) -> tuple[Fitting, int, int]:
    calls, records = one(options.calls, "--calls"), one(options.limit, "--limit")
    space = _space(options.sampler, options.task)
    if calls < space.least:
        raise UsageError.of("--calls", options.calls, f"{space.least} or more")
    seeds, trials = listed_seeds(options.seeds), one(options.trials, "--trials")
    if len(seeds) < 2:
        raise UsageError.of("--seeds", options.seeds, "two or more, for an energy score")
    if trials < fewest_trials():
        raise UsageError.of("--trials", options.trials, f"{fewest_trials()} or more")
    (draw,) = whole(options.draw, "--draw")[:1]
    out = Path(options.out)
    where = setup(options.model, options.task, options.data or f"{out}/records/*/*.tar")
    if not where.truth:
        raise UsageError.of("--task", options.task, "a task with a truth to fit against")
    if options.data is None:
        own_records(where, TIMES * records, draw, out / "records")
    given = (f"data.limit={records}", *overrides)
    return Fitting(where, given, seeds, calls, out, options.captions, space), trials, draw


def _space(name: str | None, task: str) -> Space:
    """The one asked for, or Newton-Krylov's where pixels are known, which it needs, and else projected Newton's."""
    known = inpaints(task)
    name = name or ("krylov" if known else "projected")
    if name not in SPACES:
        raise UsageError.of("--sampler", name, f"one of {', '.join(SPACES)}", SPACES)
    if name == "krylov" and not known:
        raise UsageError.of(
            "--sampler", name, f"projected for {task}; krylov is for inpainting, where pixels are known"
        )
    return SPACES[name].within(known)


def _trial(fit: Fitting, fitted: Fitted, point: list[float] | None, number: int) -> dict[str, Any]:
    score = energy(judged(fit.trial(fitted, f"trials/{number:03d}")))
    facts = {"trial": number, "point": point, "steps": fitted.steps, "sampler": fitted.sampler}
    return {**facts, "calls": fitted.calls, "energy": score}


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


def _header(fit: Fitting, tried: list[dict[str, Any]], winner: dict[str, Any]) -> tuple[str, str]:
    first = f"{fit.space.title} for {fit.setup.model}, {fit.setup.task}: {winner['calls']} calls a record."
    here = origin()
    score, apart = winner["energy"], winner["to_the_first"]
    text = (
        f"The best of {len(tried)} settings by fcs-bench fit. On {winner['records']} records with other seeds: energy "
        f"score {score['mean']:.3g} ({score['low']:.3g} to {score['high']:.3g}), minus that of the sampler's defaults "
        f"at as many calls {apart['mean']:.3g} ({apart['low']:.3g} to {apart['high']:.3g}) "
        f"({here['date']}, {here['hardware']})."
    )
    return first, text

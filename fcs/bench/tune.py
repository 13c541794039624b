r"""Settings for each method on training data: the same number of trials for all, the first the published setting.

    python fcs/bench/tune.py --model digits-16 --task inpaint-half --methods all --out runs/tune/digits-half
    python fcs/bench/tune.py --model emoji-64 --task superres4 --methods psld,mmps --calls 200 --out runs/tune/superres4

The others are spread over the method's space (two or three numbers) by a scrambled Halton sequence. A trial runs the
records of the set ``tune`` and has the energy score in the model's own features; the smallest mean of a trial without
failed records is chosen. Writes OUT/trials.json, which compare.py takes with --tuned. Every trial has the levels that
--calls buys, as compare.py counts them. Finished trials are not run again. What follows the options are overrides of
every config.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from scipy.stats import qmc

from fcs.bench.comparison import TRIALS, Contest, Entrant, named
from fcs.bench.methods import METHODS, Method
from fcs.bench.options import budgets, chosen_methods, command, whole
from fcs.bench.rows import finished, own
from fcs.bench.tasks import SUFFIX, setup
from fcs.core.errors import UsageError


def shares(method: Method, count: int, seed: int) -> list[list[float]]:
    """Points in the unit cube of the method's space, the same for the same seed; none without a space."""
    if not method.space:
        return []
    return qmc.Halton(len(method.space), scramble=True, rng=seed).random(count).tolist()


def entrants(contest: Contest, method: Method, budget: int | None, trials: int, seed: int) -> list[Entrant]:
    """The published setting, then others, each with the levels that the budget buys; none if it cannot enter."""
    first = contest.enter(method, budget)
    found = [] if first.levels is None else [first]
    for point in shares(method, trials - 1, seed) if found else []:

        def setting(levels: int, point: list[float] = point) -> dict[str, float]:
            return method.setting(point, levels, contest.setup.large)

        levels = method.levels if budget is None else method.levels_for(budget, setting)
        if levels is not None:
            found.append(Entrant(method, budget, levels, setting(levels)))
    return found


def trial(contest: Contest, entrant: Entrant, number: int) -> dict[str, Any]:
    """One trial: its setting, cost and energy score, None where a record failed."""
    report = finished(contest.trial(entrant, f"{entrant.method.name}/{number:02d}"))
    assert entrant.levels is not None
    sampler = entrant.method.sampler(entrant.setting)
    energy = None if report is None or report["failed"] else report[f"energy_{own(report)}"]
    return {
        "trial": number,
        "setting": entrant.setting,
        "levels": entrant.levels,
        "calls": sampler.calls(entrant.levels),
        "backwards": sampler.backwards(entrant.levels),
        "energy": energy,
        "failed": None if report is None else report["failed"],
        "chosen": False,
    }


def marked(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials with the best one chosen; none if all have failed records."""
    whole = [one for one in trials if one["energy"] is not None]
    best = min(whole, key=lambda one: one["energy"]["mean"], default=None)
    return [{**one, "chosen": one is best} for one in trials]


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name")
    parser.add_argument("--task", required=True, help=", ".join(name for name in SUFFIX if name != "style"))
    parser.add_argument("--methods", default="all", help=f"all, or of {', '.join(METHODS)}")
    parser.add_argument("--data", type=Path, help="folder with the sets' shards (the model's own)")
    parser.add_argument("--trials", type=int, default=20, help="of each method (%(default)s)")
    parser.add_argument("--records", type=int, default=50, help="of the set tune (%(default)s)")
    parser.add_argument("--seeds", default="0,1", help="two or more, comma separated (%(default)s)")
    parser.add_argument("--calls", default="100", help="budget, or published (%(default)s)")
    parser.add_argument("--draw", type=int, default=0, help="seed of the settings that are tried (%(default)s)")
    parser.add_argument("--captions", action="store_true", help="give the records' prompts to the model")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Run all trials, writing what is known after each.

    Raises:
        UsageError: an option that does not fit.
    """
    where, seeds = setup(args.model, args.task, "tune", args.data), whole(args.seeds, "--seeds")
    if not where.truth:
        raise UsageError.of("--task", args.task, "a task with a truth to tune against")
    if len(seeds) < 2 or len(budgets(args.calls)) != 1 or args.trials < 1:
        raise UsageError("expected two --seeds or more, one budget of --calls and at least one of --trials")
    (budget,) = budgets(args.calls)
    contest = Contest(where, seeds, args.out, (f"data.limit={args.records}", *overrides), args.captions)
    path, methods = args.out / TRIALS, {}
    # What an earlier command found for other methods stays, if it was on the same things.
    facts = {"model": args.model, "task": args.task, "calls": named(budget), "records": args.records}
    facts |= {"seeds": list(seeds), "draw": args.draw, "captions": args.captions, "overrides": overrides}
    if path.exists():
        kept = json.loads(path.read_text())
        if {key: kept.get(key) for key in facts} != facts:
            raise UsageError.of("--out", args.out, "a folder of its own for other trials than those in it")
        methods = kept["methods"]
    for method in chosen_methods(args.methods):
        trials: list[dict[str, Any]] = []
        for number, entrant in enumerate(entrants(contest, method, budget, args.trials, args.draw), 1):
            trials.append(trial(contest, entrant, number))
            methods[method.name] = marked(trials)
            said = {"command": " ".join(["python", *sys.argv]), "date": time.strftime("%Y-%m-%d"), **facts}
            path.write_text(json.dumps({**said, "methods": methods}, indent=1) + "\n")
        best = [one for one in methods.get(method.name, []) if one["chosen"]]
        print(method.name, best[0]["setting"] if best else "nothing chosen", flush=True)


if __name__ == "__main__":
    command(parser(), run)

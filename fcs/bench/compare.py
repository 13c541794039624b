r"""All methods on the same model, records and seeds, each at its own price.

    python fcs/bench/compare.py --model digits-16 --task inpaint-half --methods all --seeds 0,1,2,3 --calls 100 \
        --tuned runs/tune/digits-half --out runs/compare/digits-half
    python fcs/bench/compare.py --model emoji-64 --task inpaint-box --methods newton-k5,ding,dps --limit 100 \
        --seeds 0,1 --calls 10,20,40,80,160,320 --out runs/compare/emoji-box

``--calls`` is a budget of denoiser calls a record, a backward counted as two, for which each method gets as many levels
as it can pay; several budgets give curves; ``published`` is each method's published number of levels. Settings are the
published ones unless ``--tuned`` names what ``tune.py`` found. Writes OUT/compare.json (``rows``), compare.md,
compare.png (quality against calls), pictures-BUDGET.png (records down, methods across; ten drawn by seed 0) and, of
tuned methods, configs/BUDGET/CONFIG_METHOD.yaml, which fcs-predict takes. A method that does not apply keeps its row
with calls 0 and a note; sd-inpaint is DDIM on the model of --inpaint-model (``train_inpaint.py`` makes one of
emoji-64). A style has no truth: its rows have ``style`` and ``clip`` scores instead.
Finished runs are not run again. What follows the options are overrides of every config.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fcs.bench.comparison import Contest, named
from fcs.bench.methods import METHODS
from fcs.bench.options import budgets, chosen_methods, command, origin, whole
from fcs.bench.presets import write_config
from fcs.bench.published import published
from fcs.bench.rows import Row, compared, row
from fcs.bench.tables import pictures, plot, table
from fcs.bench.tasks import SETS, SUFFIX, setup


def report(contest: Contest, rows: list[Row], args: argparse.Namespace) -> None:
    """Write rows and table as far as they are."""
    setup = contest.setup
    facts = {
        **origin(),
        **{"model": setup.model, "task": setup.task, "set": args.set, "seeds": list(contest.seeds)},
        **{"difference_to": args.against, "rows": rows, "published": published(setup.task)},
    }
    contest.out.mkdir(parents=True, exist_ok=True)
    (contest.out / "compare.json").write_text(json.dumps(facts, indent=1) + "\n")
    (contest.out / "compare.md").write_text(table(rows, args.against, published(setup.task)))


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name")
    parser.add_argument("--task", required=True, help=", ".join(SUFFIX))
    parser.add_argument("--methods", default="all", help=f"all, or of {', '.join(METHODS)}")
    parser.add_argument("--set", choices=SETS, default="unseen", help="which records (%(default)s)")
    parser.add_argument("--data", type=Path, help="folder with the sets' shards (the model's own)")
    parser.add_argument("--limit", type=int, help="records (all)")
    parser.add_argument("--seeds", default="0,1", help="comma separated; the energy score needs two (%(default)s)")
    parser.add_argument("--calls", default="100", help="budgets, comma separated, or published (%(default)s)")
    parser.add_argument("--tuned", type=Path, help="folder of tune.py")
    parser.add_argument("--inpaint-model", help="model.name of one tuned for inpainting: the method sd-inpaint")
    parser.add_argument("--against", default="newton-k1", help="method of the paired differences (%(default)s)")
    parser.add_argument("--captions", action="store_true", help="give the records' prompts to the model")
    parser.add_argument("--memory", action="store_true", help="measure memory, each method in a process of its own")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Run, judge and write.

    Raises:
        UsageError: an option that does not fit.
    """
    limit = () if args.limit is None else (f"data.limit={args.limit}",)
    where = setup(args.model, args.task, args.set, args.data)
    seeds = whole(args.seeds, "--seeds")
    contest = Contest(where, seeds, args.out, (*limit, *overrides), args.captions, args.tuned, args.inpaint_model)
    methods = chosen_methods(args.methods)
    rows: list[Row] = []
    reports: dict[tuple[str, int | None], dict[str, Any]] = {}
    for budget in budgets(args.calls):
        entrants = [contest.enter(method, budget) for method in methods]
        for entrant in entrants:
            made, evaluation = row(contest, entrant, args.memory)
            rows.append(made)
            if evaluation is not None:
                reports[entrant.method.name, budget] = evaluation
                if entrant.method.space and entrant.method.name in contest.chosen and made["energy"] is not None:
                    write_config(contest, entrant, made, evaluation, args.out / "configs" / str(named(budget)))
            report(contest, compared(rows, reports, args.against), args)
        pictures(contest, entrants, args.out / f"pictures-{named(budget)}.png")
    plot(rows, args.out / "compare.png")
    print((args.out / "compare.md").read_text())


if __name__ == "__main__":
    command(parser(), run)

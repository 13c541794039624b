"""Comparisons on the same records, made one by one, as one table: every row held against one, paired by record.

    python jobs/rivals.py --set "digits-16, half" DIR DIR2 --set "digits-16, box" DIR3 DIR4 \
        --against 'krylov-20, sampler.push=1' --out docs/figures/rivals.json

Each DIR is what `fcs-bench compare` wrote, or an archive of such folders. A row is called METHOD-CALLS, with what was
asked of task or sampler beside. Prints a table a set: energy scores in the embedded network's features and in random
ones, and differences to the row of --against; in bold what is significantly better than it, in italics what is worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from command import command
from faces.posterior_summary import Entry, marked, price
from posterior import Rows, apart, held

from fcs.bench.origin import origin, write_json
from fcs.bench.tables import markdown, shown
from fcs.tools.cli.ends import Parser

FIGURES = {"energy_own": "energy", "energy_random": "random features"}
SMALLER = -1  # is better, of both
KEPT = ("command", "date", "hardware", "records", "seeds", *FIGURES)


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/rivals.py", __doc__)
    parser.add_argument("--set", action="append", nargs="+", required=True, metavar=("NAME", "DIR"), dest="sets")
    parser.add_argument("--against", required=True, help="row of the paired differences")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    return parser


def kept(entry: Entry, reference: Entry) -> Entry:
    """A row's cost, setting and energy scores, and its differences to the reference."""
    found = {name: entry["row"][name] for name in ("calls", "backwards", "levels", "setting")}
    return {**found, **{name: entry[name] for name in KEPT}, "difference": apart(entry, reference)}


def table(rows: Rows) -> str:
    """The rows, the best first."""
    lines = []
    for name, one in sorted(rows.items(), key=lambda item: float(item[1]["energy_own"]["mean"])):
        cells = [name, price(one)]
        for figure in FIGURES:
            difference = one["difference"].get(figure)
            cells += [f"{one[figure]['mean']:.3g}", marked(shown(difference), difference, SMALLER)]
        lines.append(cells)
    return markdown(["row", "calls", *(cell for name in FIGURES.values() for cell in (name, "difference"))], lines)


def run(args: argparse.Namespace) -> None:
    """Read, write, print.

    Raises:
        UsageError: a folder or a row that is not there.
    """
    found = held(args.sets, args.against, kept)
    for name, rows in found.items():
        print(f"\n{name}\n\n{table(rows)}", end="")
    write_json(args.out, {**origin(), "against": args.against, "sets": found})


if __name__ == "__main__":
    command(parser(), run)

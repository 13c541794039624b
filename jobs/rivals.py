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
from tempfile import TemporaryDirectory
from typing import Any

from command import command
from faces.posterior_summary import Entry
from posterior import entries

from fcs.bench.origin import origin, write_json
from fcs.bench.paired import differences
from fcs.bench.tables import markdown, shown
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser

FIGURES = {"energy_own": "energy", "energy_random": "random features"}
KEPT = ("command", "date", "hardware", "records", "seeds", *FIGURES)


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/rivals.py", __doc__)
    parser.add_argument("--set", action="append", nargs="+", required=True, metavar=("NAME", "DIR"), dest="sets")
    parser.add_argument("--against", required=True, help="row of the paired differences")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    return parser


def held(entry: Entry, reference: Entry) -> dict[str, Any]:
    """A row's cost, setting and energy scores, and its differences to the reference, if it is another row."""
    row = entry["row"]
    found = {name: row[name] for name in ("calls", "backwards", "levels", "setting")}
    apart = {} if entry is reference else differences(entry["single"], reference["single"])
    return {**found, **{name: entry[name] for name in KEPT}, "difference": apart}


def difference(interval: dict[str, float] | None) -> str:
    """A paired difference of scores of which less is better, marked where its interval does not contain 0."""
    if interval is None:
        return ""
    mark = "**" if interval["high"] < 0 else "*" if interval["low"] > 0 else ""
    return f"{mark}{shown(interval)}{mark}"


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows, the best first."""
    lines = []
    for name, one in sorted(rows.items(), key=lambda item: float(item[1]["energy_own"]["mean"])):
        cells = [name, f"{one['calls']:g} + {one['backwards']:g}b" if one["backwards"] else f"{one['calls']:g}"]
        for figure in FIGURES:
            cells += [f"{one[figure]['mean']:.3g}", difference(one["difference"].get(figure))]
        lines.append(cells)
    return markdown(["row", "calls", *(cell for name in FIGURES.values() for cell in (name, "difference"))], lines)


def run(args: argparse.Namespace) -> None:
    """Read, write, print.

    Raises:
        UsageError: a folder or a row that is not there.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, *folders in args.sets:
        with TemporaryDirectory() as space:
            rows = entries(folders, Path(space))
        if args.against not in rows:
            raise UsageError.of("--against", args.against, f"a row of {name}: {', '.join(rows)}", rows)
        found[name] = {label: held(one, rows[args.against]) for label, one in rows.items()}
        print(f"\n{name}\n\n{table(found[name])}", end="")
    write_json(args.out, {**origin(), "against": args.against, "sets": found})


if __name__ == "__main__":
    command(parser(), run)

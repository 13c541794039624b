"""Quality against network calls, every method, on faces whose hidden part has a known distribution.

    python jobs/frontier.py ARCHIVE --out docs/figures/frontier_faces.json --plot docs/pictures/frontier_faces.png \
        --page docs/frontier.md

Reads what `jobs/posterior.py` reads: folders of `fcs-bench compare` on the same records at several budgets, or archives
of them. Prints a table a figure, methods down and budgets across; marked where a method differs significantly from the
row of --against at the same budget: bold if better, italics if worse. Rows at their published number of calls are held
against the largest budget. A page gets the tables between a line <!-- table: FIGURE --> and a line <!-- end -->.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from command import command
from faces.curves import Curve, draw_curves
from faces.posterior_page import fill
from faces.posterior_summary import SHOWN, WORDS, Entry, best, called, cell, mean, parts
from posterior import entries, figures

from fcs.bench.origin import origin, write_json
from fcs.bench.tables import markdown
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser

PUBLISHED = "published"
DRAWN = {"energy_own": "energy score (smaller is better)", "consistency": "consistency (larger is better)"}
Rows = dict[str, dict[str, Entry]]  # by method, then by budget


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/frontier.py", __doc__)
    parser.add_argument("runs", nargs="+", metavar="DIR", help="of fcs-bench compare, or an archive of them")
    parser.add_argument("--against", default="krylov", help="method that the others are held against (%(default)s)")
    parser.add_argument("--ours", nargs="*", default=("krylov", "projected"), help="drawn on top (krylov projected)")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    parser.add_argument("--plot", type=Path, help="PNG: a line a method")
    parser.add_argument("--page", type=Path, help="Markdown whose tables are filled in")
    return parser


def by_method(found: dict[str, Entry], against: str) -> Rows:
    """Rows of a method together, each held against the reference at its budget.

    Raises:
        UsageError: the reference lacks a budget that another has.
    """
    split: Rows = {}
    for name, entry in found.items():
        method, budget, beside = parts(name)
        split.setdefault(method + beside, {})[budget] = entry
    budgets = {budget for rows in split.values() for budget in rows} - {PUBLISHED}
    missing = budgets - split.get(against, {}).keys()
    if missing or not budgets:
        raise UsageError.of("--against", against, f"a method with rows of {', '.join(sorted(missing, key=int))} calls")
    reference = split[against] | {PUBLISHED: split[against][max(budgets, key=int)]}
    return {
        method: {budget: figures(one, reference[budget]) for budget, one in rows.items()}
        for method, rows in split.items()
    }


def table(rows: Rows, figure: str) -> str:
    """Methods down, budgets across, the best at the largest budget first."""
    budgets = sorted({budget for one in rows.values() for budget in one} - {PUBLISHED}, key=int)
    at_most = [one[budgets[-1]] for one in rows.values() if budgets[-1] in one]
    perfect = best(max(at_most, key=lambda one: one["records"]), figure)
    lines: list[list[Any]] = [] if perfect is None else [["a perfect sampler", *[perfect] * len(budgets)]]
    for method, at in sorted(rows.items(), key=lambda item: rank(item[1], figure)):
        if at.keys() - {PUBLISHED}:
            lines.append([called(method), *(cell(at.get(budget), figure) for budget in budgets)])
        if PUBLISHED in at:
            calls = f"{called(method)} as published, {paid(at[PUBLISHED]):g} calls"
            lines.append([calls, *[None] * (len(budgets) - 1), cell(at[PUBLISHED], figure)])
    return markdown(["method", *(f"{budget} calls" for budget in budgets)], lines)


def rank(at: dict[str, Entry], figure: str) -> float:
    """A place in a table: the figure at the largest budget that a method has."""
    last = at[max(at, key=lambda budget: -1 if budget == PUBLISHED else int(budget))]
    value = mean(last, figure)
    assert value is not None
    return -SHOWN[figure] * value


def paid(entry: Entry) -> float:
    """Network calls, a backward pass counted as two."""
    return float(entry["calls"] + 2 * entry["backwards"])


def marked(rows: Rows) -> list[int]:
    """Numbers of calls for the axis: all budgets, and what published settings cost."""
    found = ((budget, entry) for one in rows.values() for budget, entry in one.items())
    return sorted({round(paid(entry)) if budget == PUBLISHED else int(budget) for budget, entry in found})


def curves(rows: Rows, figure: str, ours: list[str]) -> list[Curve]:
    """A line a method, and a point of its own for what ran as published."""
    found = []
    for method, at in rows.items():
        name = called(method)
        budgets = sorted(at.keys() - {PUBLISHED}, key=int)
        own = [(paid(at[budget]), at[budget][figure]) for budget in budgets]
        found += [Curve(name, own, method.partition(",")[0] in ours)] if own else []
        if PUBLISHED in at:
            found.append(Curve(f"{name}, as published", [(paid(at[PUBLISHED]), at[PUBLISHED][figure])], False))
    return found


def run(args: argparse.Namespace) -> None:
    """Read, write, print.

    Raises:
        UsageError: a folder or a row that is not there, a table that does not exist.
    """
    with TemporaryDirectory() as space:
        rows = by_method(entries(args.runs, Path(space), "DIR"), args.against)
    tables = {WORDS[figure]: table(rows, figure) for figure in SHOWN}
    print("\n\n".join(f"{name}\n\n{text}" for name, text in tables.items()))
    write_json(args.out, {**origin(), "against": args.against, "methods": rows})
    if args.plot is not None:
        panels = {label: curves(rows, figure, args.ours) for figure, label in DRAWN.items()}
        draw_curves(panels, marked(rows), args.plot)
    if args.page is not None:
        args.page.write_text(fill(args.page.read_text(), tables.get, f"a table: {', '.join(tables)}"))


if __name__ == "__main__":
    command(parser(), run)

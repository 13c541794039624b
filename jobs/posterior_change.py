"""What a change of settings does to each method: two comparisons on the same records, row against row.

    python jobs/posterior_change.py --before SMOOTH.tar.xz --after MIRROR.tar.xz --out docs/figures/hole_methods.json

Each is what `jobs/posterior.py` reads: folders of `fcs-bench compare`, or archives of them. Rows of the same method,
calls and sampler's setting are compared, paired by record, whatever was asked of the task; a table of differences,
after minus before, is printed. A row that one of the two lacks is left out, as is one that was tuned in between.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from command import command
from faces.posterior_page import setting
from faces.posterior_summary import Entry
from posterior import entries

from fcs.bench.origin import origin, write_json
from fcs.bench.paired import differences
from fcs.bench.tables import markdown
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser

FIGURES = {"energy_own": "energy", "consistency": "consistency", "tv": "total variation"}


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/posterior_change.py", __doc__)
    parser.add_argument("--before", nargs="+", required=True, metavar="DIR")
    parser.add_argument("--after", nargs="+", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    return parser


def change(before: Entry, after: Entry) -> dict[str, Any]:
    """Energy scores and paired differences of one row."""
    return {
        "commands": [one["command"] for one in (before, after)],
        "setting": after["row"]["setting"],
        "energy_own": [one["energy_own"] for one in (before, after)],
        "difference": differences(after["single"], before["single"]),
    }


def _same(name: str, before: dict[str, Entry], after: dict[str, Entry]) -> bool:
    """Whether a row has the same setting in both; what is published may be said in numbers or not at all."""
    first, second = (setting(name, one[name]["row"]) for one in (before, after))
    return first == second


def plain(name: str) -> str:
    """A row's name without what was asked of the task, since that is what changes."""
    return ", ".join(part for part in name.split(", ") if not part.startswith("task."))


def cells(name: str, one: dict[str, Any]) -> list[Any]:
    """A line of the table."""
    before, after = (energy["mean"] for energy in one["energy_own"])
    return [name, f"{before:.1f}", f"{after:.1f}", *(one["difference"].get(figure) for figure in FIGURES)]


def run(args: argparse.Namespace) -> None:
    """Read, write, print.

    Raises:
        UsageError: a folder that is not there, no row that both have.
    """
    with TemporaryDirectory() as space:
        found = (entries(vars(args)[name], Path(space), f"--{name}") for name in ("before", "after"))
        first, second = ({plain(name): one for name, one in rows.items()} for rows in found)
    same = [name for name in second if name in first and _same(name, first, second)]
    rows = {name: change(first[name], second[name]) for name in same}
    if not rows:
        expected = f"a row of --before with the same setting: {', '.join(first)}"
        raise UsageError.of("--after", " ".join(args.after), expected)
    print(markdown(["method", "before", "after", *FIGURES.values()], [cells(name, one) for name, one in rows.items()]))
    write_json(args.out, {**origin(), "rows": rows})


if __name__ == "__main__":
    command(parser(), run)

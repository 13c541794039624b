"""Comparisons on faces as one file of figures, tables and a plot: consistency against calibration.

    python jobs/posterior.py --set "eps, half" DIR DIR2 --set "flow, half" DIR3 --against projected-40 \
        --out docs/figures/posterior.json --plot docs/pictures/posterior.png --page docs/posterior.md

Each DIR is what `fcs-bench compare` wrote, or an archive of such folders without their pictures:

    tar --sort=name -cJf FILE.tar.xz -C RUNS $(cd RUNS; ls -d NAME*/compare.json NAME*/*/evaluate.json)

Those of one --set are on the same records, and their rows are compared with each other. A row is called METHOD-CALLS,
with what was asked of task or sampler beside (KEY=VALUE), and "captions" where runs had the records' own. Prints a
table a set with intervals, and one a model (the part of its sets' names before the comma) with its masks side by side.
A page gets the same tables, each between a line <!-- table: NAME --> and a line <!-- end -->, where NAME is a set's or
a model's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from command import command
from faces.posterior_page import filled, intervals
from faces.posterior_summary import Entry, by_model, parts, summaries, title
from unpack import unpack

from fcs.bench.comparison import named
from fcs.bench.origin import origin, write_json
from fcs.bench.paired import differences
from fcs.bench.plots import draw_points
from fcs.bench.posterior import pooled_variation
from fcs.bench.trial import FILE
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser

Rows = dict[str, Entry]  # by name


def parser() -> Parser:
    """Command line."""
    parser = Parser("python jobs/posterior.py", __doc__)
    parser.add_argument("--set", action="append", nargs="+", required=True, metavar=("NAME", "DIR"), dest="sets")
    parser.add_argument("--against", default="projected-40", help="row of the paired differences (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    parser.add_argument("--plot", type=Path, help="PNG: a point a method")
    parser.add_argument("--page", type=Path, help="Markdown whose tables are filled in")
    told = "masks of its consistency and total variation (half band)"
    parser.add_argument("--plane", nargs=2, default=("half", "band"), metavar=("MASK", "MASK"), help=told)
    return parser


def comparisons(given: Path, space: Path, option: str) -> list[Path]:
    """Folders of comparisons: the one given, or those of an archive, unpacked into a folder of their own in ``space``.

    Args:
        given: a folder or an archive.
        space: where archives may be unpacked.
        option: of the command line that it came by.

    Raises:
        UsageError: there is none.
    """
    if given.is_file() and tarfile.is_tarfile(given):
        inside = Path(mkdtemp(dir=space))
        unpack(given, inside)
        found = sorted(path.parent for path in inside.glob("*/compare.json"))
    else:
        found = [given] if (given / "compare.json").exists() else []
    if not found:
        raise UsageError.of(option, given, "a folder with compare.json, that fcs-bench compare wrote, or their archive")
    return found


def entries(folders: Sequence[str], space: Path, option: str = "--set") -> dict[str, Entry]:
    """Rows by name, each with its evaluation.

    Args:
        folders: of comparisons, or archives.
        space: where archives may be unpacked.
        option: of the command line that they came by.

    Raises:
        UsageError: a folder without a comparison.
    """
    found: dict[str, Entry] = {}
    for folder in (one for given in folders for one in comparisons(Path(given), space, option)):
        path = folder / "compare.json"
        for row in json.loads(path.read_text())["rows"]:
            name = f"{row['method']}-{named(row['budget'])}"
            if (folder / name / FILE).exists():
                evaluation = json.loads((folder / name / FILE).read_text())
                found[", ".join([name, *asked(evaluation)])] = {"row": row, **evaluation}
    return found


def asked(evaluation: Entry) -> list[str]:
    """What a comparison's command asks of all its methods."""
    words = [word for word in shlex.split(evaluation["command"]) if word.startswith(("task.", "sampler."))]
    return [*words, "captions"] if evaluation["captions"] else words


def apart(entry: Entry, reference: Entry) -> dict[str, Any]:
    """Paired differences of a row to the reference; none of the reference itself."""
    return {} if entry is reference else differences(entry["single"], reference["single"])


def figures(entry: Entry, reference: Entry) -> Entry:
    """What is kept of a row: cost, consistency and calibration by attribute, the energy score, paired differences."""
    row, known = entry["row"], entry["posterior"]
    return {
        **{name: row[name] for name in ("calls", "backwards", "levels", "seconds", "setting", "note")},
        **{name: entry[name] for name in ("command", "date", "hardware", "records", "seeds")},
        **{name: entry[name] for name in ("consistency", "energy_own", "energy_random", "diversity_own")},
        "consistency_by_attribute": known["consistency"],
        "calibration": known["calibration"],
        "part": known.get("part"),
        "difference": apart(entry, reference),
    }


def held(sets: Sequence[Sequence[str]], against: str, kept: Callable[[Entry, Entry], Entry]) -> dict[str, Rows]:
    """What is kept of the rows of each set, each held against one of them.

    Args:
        sets: a name and folders of comparisons, or archives, each.
        against: the row that the others are held against.
        kept: makes it, of a row and that one.

    Raises:
        UsageError: a folder or a row that is not there.
    """
    found: dict[str, Rows] = {}
    for name, *folders in sets:
        with TemporaryDirectory() as space:
            rows = entries(folders, Path(space))
        if against not in rows:
            raise UsageError.of("--against", against, f"a row of {name}: {', '.join(rows)}", rows)
        found[name] = {label: kept(one, rows[against]) for label, one in rows.items()}
    return found


def run(args: argparse.Namespace) -> None:
    """Read, write, print.

    Raises:
        UsageError: a folder, a row or a table's set that is not there.
    """
    found = held(args.sets, args.against, figures)
    for name, rows in found.items():
        print(f"\n{name}\n\n{intervals(rows)}")
    print(f"\n{summaries(found)}")
    write_json(args.out, {**origin(), "against": args.against, "sets": found})
    if args.plot is not None:
        across, along = args.plane
        labels = (f"consistency, {across} (larger is better)", f"total variation, {along} (smaller is better)")
        draw_points(panels(found, across, along), labels, args.plot)
    if args.page is not None:
        args.page.write_text(filled(args.page.read_text(), found))


def point(label: str, one: Entry) -> str:
    """A row's name in the plot, with its budget where it asks a network."""
    return f"{title(label)}, {parts(label)[1]}" if one["calls"] else title(label)


def panels(sets: dict[str, Rows], across: str, along: str) -> dict[str, dict[str, Any]]:
    """For each model the consistency on one mask and the total variation on another, of rows that both have."""
    found: dict[str, dict[str, Any]] = {}
    for model, masks in by_model(sets).items():
        if across not in masks:
            continue
        first, second = masks[across], masks.get(along, {})
        found[model] = {
            point(label, one): (one["consistency"], pooled_variation(second[label]["calibration"]))
            for label, one in first.items()
            if label in second
        }
    return found


if __name__ == "__main__":
    command(parser(), run)

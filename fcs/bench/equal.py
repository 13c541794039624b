"""``fcs-bench equal``: the share that a setting closes of the gap between two others."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fcs.bench.origin import origin, write_json
from fcs.bench.paired import aligned, gap_closed
from fcs.bench.plots import picture_rows
from fcs.bench.tables import shown
from fcs.bench.trial import FILE
from fcs.core.errors import UsageError

FIGURES = ("energy_own", "energy_random")
SAID = {True: "equal", False: "not shown to be equal", None: "undecided: the interval of the gap includes 0"}


def single(option: str, folder: str) -> dict[str, Any]:
    """What an evaluation says of each record.

    Raises:
        UsageError: there is none.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise UsageError.of(option, folder, f"a folder with {FILE}")
    found: dict[str, Any] = json.loads(path.read_text())["single"]
    return found


def line(figure: str, verdict: dict[str, Any]) -> str:
    """A verdict in one line."""
    gap, share, difference = (shown(verdict[key]) for key in ("gap", "share", "difference"))
    return f"{figure}: gap {gap}, share closed {share}, difference {difference}, {SAID[verdict['equal']]}"


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Judge, print and write.

    Raises:
        UsageError: a folder without an evaluation, evaluations without a common record, an override.
    """
    if overrides:
        raise UsageError(f"{overrides[0]}: expected an option of --help; this runs no config")
    three = [single(f"--{name}", getattr(options, name)) for name in ("worst", "best", "found")]
    verdicts = {}
    for figure in FIGURES:
        if all(figure in evaluation for evaluation in three):
            (worst, best, found), groups = aligned(three, figure)
            if not len(groups):
                raise UsageError.of("--found", options.found, "records that the others have too")
            verdicts[figure] = gap_closed(worst, best, found, groups)
            print(line(figure, verdicts[figure]))
    if options.pictures is not None:
        folders = [Path(name) for name in (options.worst, *options.beside, options.best, options.found)]
        picture_rows({folder.name: folder for folder in folders}, Path(options.pictures))
    write_json(Path(options.out), {**origin(), **verdicts})

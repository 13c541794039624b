r"""Whether a setting equals another: the share that it closes of the gap from replacement to that other.

    python fcs/bench/equal.py --worst runs/compare40/replacement-40 --best runs/paper/newton-k5-published \
        --found runs/compare40/projected-40 --out runs/equal.json

Each folder is one that compare.py, ablate.py or evaluate.py left an evaluate.json in, on the same records and seeds.
Equal means: at least 95 % of the gap closed, the lower end of its 95 % interval at least 80 %; where the gap's own
interval includes 0 the records cannot decide. In the energy score of the model's own features, and of a random
network's. With --pictures also a sheet: ten records drawn by seed 0, a row a folder, those of --beside too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fcs.bench.figures import aligned
from fcs.bench.options import command, origin
from fcs.bench.plots import picture_rows
from fcs.bench.trial import FILE
from fcs.bench.verdict import closes, told
from fcs.core.errors import UsageError

FIGURES = ("energy_own", "energy_random")


def single(option: str, folder: Path) -> dict[str, Any]:
    """What an evaluation says of each record.

    Raises:
        UsageError: there is none.
    """
    path = folder / FILE
    if not path.exists():
        raise UsageError.of(option, folder, f"a folder with {FILE}")
    found: dict[str, Any] = json.loads(path.read_text())["single"]
    return found


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("worst", "where the gap begins"), ("best", "where it ends"), ("found", "what is judged")):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--pictures", type=Path, help="PNG file")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], help="more folders for the sheet")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Judge, print and write.

    Raises:
        UsageError: a folder without an evaluation, evaluations without a common record, an unknown option.
    """
    if overrides:
        raise UsageError.of("equal.py", " ".join(overrides), "its own options alone")
    three = [single(f"--{name}", getattr(args, name)) for name in ("worst", "best", "found")]
    verdicts = {}
    for figure in FIGURES:
        if all(figure in one for one in three):
            (worst, best, found), groups = aligned(three, figure)
            if not len(groups):
                raise UsageError.of("--found", args.found, "records that the others have too")
            verdicts[figure] = closes(worst, best, found, groups)
            print(told(figure, verdicts[figure]))
    if args.pictures is not None:
        folders = (args.worst, *args.beside, args.best, args.found)
        picture_rows({folder.name: folder for folder in folders}, args.pictures)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({**origin(), **verdicts}, indent=1) + "\n")


if __name__ == "__main__":
    command(parser(), run)

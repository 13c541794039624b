"""What the settings of the Newton sampler are worth: moves x step size x difference x guidance x steps.

    python fcs/bench/ablate.py --model digits-16 --config digits_half --out runs/ablate-digits
    python fcs/bench/ablate.py --model emoji-64 --config emoji_half --out runs/ablate-emoji --limit 48 --seeds 0,1

The first value of each list is where the others stay: all of --moves x --sizes are run there, then each other list by
itself, or with --full the whole product. Guidance needs prompts: its cells are given the records' own, also the one
with guidance 1. Writes OUT/ablate.json (a row a cell with intervals, and its paired difference to the first),
ablate.md, ablate.png (energy score against each setting) and ablate-pictures.png (the same records in every cell, so
that what breaks is seen). Finished cells are not run again. What follows the options are overrides of the config.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from fcs.bench.cells import Series, row, table, write
from fcs.bench.options import command, numbers, whole
from fcs.bench.plots import draw_lines, picture_rows
from fcs.samplers.inexact_newton import falling


@dataclass(frozen=True)
class Cell:
    """One setting. ``size`` is the first of ``moves`` step sizes that fall linearly to a fifth of it."""

    moves: int
    size: float
    difference: float
    guidance: float
    steps: int
    captions: bool = False

    @property
    def name(self) -> str:
        """A name for its folder."""
        told = "-captions" if self.captions else ""
        return f"K{self.moves}-l{self.size:g}-d{self.difference:g}-w{self.guidance:g}-n{self.steps}{told}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """The same for fcs-predict."""
        sizes = [round(size, 4) for size in falling(self.size, self.size / 5, self.moves)]
        return (
            f"sampler.step_sizes={sizes}",
            f"sampler.difference={self.difference:g}",
            f"guidance={self.guidance:g}",
            f"steps={self.steps}",
        )


def cells(axes: dict[str, list[Any]], full: bool) -> Iterator[Cell]:
    """The cells to run, each once, the one that the others are compared with first."""
    names = ("moves", "size", "difference", "guidance", "steps")
    centre = Cell(*(axes[name][0] for name in names))
    if full:
        every = [Cell(*values) for values in product(*(axes[name] for name in names))]
    else:
        every = [replace(centre, moves=k, size=size) for k, size in product(axes["moves"], axes["size"])]
        every += [replace(centre, difference=value) for value in axes["difference"]]
        every += [replace(centre, steps=value) for value in axes["steps"]]
        every += [replace(centre, guidance=value) for value in axes["guidance"]]
    if len(axes["guidance"]) > 1:
        guided = [cell for cell in every if full or cell.guidance != centre.guidance]
        every = [cell for cell in every if cell.guidance == centre.guidance]
        every += [replace(cell, captions=True) for cell in [*([] if full else [centre]), *guided]]
    yield from dict.fromkeys(every)


def plot(rows: list[dict[str, Any]], axes: dict[str, list[Any]], path: Path) -> None:
    """Energy score against each setting, the others as in the first cell; step sizes for each number of moves."""
    energy = "energy_own" if rows[0]["energy_own"] else "energy_random"
    first = {name: axes[name][0] for name in axes}
    panels: dict[str, dict[str, list[tuple[float, dict[str, float]]]]] = {}
    for name in axes:
        lines: dict[str, list[tuple[float, dict[str, float]]]] = {}
        others = [other for other in axes if other not in (name, "moves" if name == "size" else name)]
        for one in rows:
            if all(one[other] == first[other] for other in others) and one["captions"] == (name == "guidance"):
                label = f"K={one['moves']}" if name == "size" else ""
                lines.setdefault(label, []).append((one[name], one[energy]))
        if any(len(points) > 1 for points in lines.values()):
            panels[name] = {label: sorted(points, key=lambda point: point[0]) for label, points in lines.items()}
    draw_lines(panels, f"{energy} (smaller is better)", path)


def parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name of the runs")
    parser.add_argument("--config", required=True, help="config to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the results")
    parser.add_argument("--limit", type=int, help="records of each cell")
    parser.add_argument("--seeds", default="0,1", help="seeds, comma separated (%(default)s)")
    parser.add_argument("--moves", default="1,2,5", help="K (%(default)s)")
    parser.add_argument("--sizes", default="0.5,0.1,0.25,1,2", help="lambda (%(default)s)")
    parser.add_argument("--differences", default="0.005,0.0005,0.05,0.5", help="delta (%(default)s)")
    parser.add_argument("--guidances", default="1,2,5,12", help="1 alone without prompts (%(default)s)")
    parser.add_argument("--steps", default="20,5,10,50", help="levels (%(default)s)")
    parser.add_argument("--full", action="store_true", help="the whole product")
    return parser


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Run all cells, write the table, the plots and the pictures.

    Raises:
        UsageError: a list that is none.
    """
    axes: dict[str, list[Any]] = {
        "moves": list(whole(args.moves, "--moves")),
        "size": numbers(args.sizes, "--sizes"),
        "difference": numbers(args.differences, "--differences"),
        "guidance": numbers(args.guidances, "--guidances"),
        "steps": list(whole(args.steps, "--steps")),
    }
    found = list(cells(axes, args.full))
    limit = [] if args.limit is None else [f"data.limit={args.limit}"]
    common = (f"model.name={args.model}", "previews.max=0", *limit, *overrides)
    series = Series(args.config, common, whole(args.seeds, "--seeds"), args.out, found[0].name)
    rows = []
    for cell in found:
        rows.append(row(asdict(cell), series.report(cell.name, cell.overrides, cell.captions)))
        write(rows, args.out / "ablate.json")
    told = table(rows, (*axes, "captions"))
    (args.out / "ablate.md").write_text(told)
    plot(rows, axes, args.out / "ablate.png")
    picture_rows({cell.name: args.out / cell.name for cell in found}, args.out / "ablate-pictures.png")
    print(told)


if __name__ == "__main__":
    command(parser(), run)

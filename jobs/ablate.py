"""What the settings of the Newton sampler are worth: moves x step size x difference x guidance x steps.

    python jobs/ablate.py --model digits-16 --config digits_half --out runs/ablate-digits
    python jobs/ablate.py --model emoji-64 --config emoji_half --out runs/ablate-emoji --limit 48 --seeds 0,1

The first value of each list is where the others stay: all of --moves x --sizes are run there, then each other list by
itself, or with --full the whole product. Guidance needs prompts: its cells are given the records' own, also the one
with guidance 1. Writes OUT/ablate.json (a row a cell with intervals, and its paired difference to the first),
ablate.md, ablate.png (energy score against each setting) and ablate-pictures.png (the same records in every cell, so
that what breaks is seen). Finished cells are not run again. What follows the options are overrides of the config.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from judging.plots import draw_lines, picture_rows
from judging.trial import FILE, Trial

COLUMNS = ("energy_own", "energy_random", "retrieval", "psnr_generated_one_seed", "seam_one_seed")


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
        sizes = [round(size, 4) for size in torch.linspace(self.size, self.size / 5, self.moves).tolist()]
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


def run(cell: Cell, args: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """The evaluation of a cell, from its folder where it is there already."""
    folder = args.out / cell.name
    seeds = tuple(int(seed) for seed in args.seeds.split(","))
    limit = [] if args.limit is None else [f"data.limit={args.limit}"]
    own = (f"model.name={args.model}", "previews.max=0", *limit, *overrides, *cell.overrides)
    trial = Trial(args.config, own, seeds, folder, cell.captions)
    if not (folder / FILE).exists():
        code = trial.predict()
        if code:
            sys.exit(code)
        trial.evaluate(args.out / first_name(args) if (args.out / first_name(args) / FILE).exists() else None)
    report: dict[str, Any] = json.loads((folder / FILE).read_text())
    return report


def first_name(args: argparse.Namespace) -> str:
    """Folder of the cell that the others are compared with."""
    return next(cells(args.axes, args.full)).name


def row(cell: Cell, report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an evaluation."""
    kept = {name: report.get(name) for name in COLUMNS}
    difference = (report.get("versus") or {}).get("energy_own") or (report.get("versus") or {}).get("energy_random")
    plain = {name: report[name] for name in ("records", "failed", "nfe", "residual")}
    return {**asdict(cell), **plain, **kept, "difference_to_first": difference}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    names = ["moves", "size", "difference", "guidance", "steps", "captions", "nfe", "failed", "residual"]
    head = [*names, *COLUMNS, "difference to the first"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in rows:
        figures = [told(one[name]) for name in (*COLUMNS, "difference_to_first")]
        lines.append("| " + " | ".join([*(f"{one[name]:.4g}" for name in names), *figures]) + " |")
    return "\n".join(lines) + "\n"


def told(figure: dict[str, float] | None) -> str:
    """A mean with its interval."""
    return "" if figure is None else f"{figure['mean']:.3g} ({figure['low']:.3g} to {figure['high']:.3g})"


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


def numbers(text: str) -> list[float]:
    """A list in the form ``1,2``."""
    return [float(part) for part in text.split(",")]


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Command line: options, and overrides of the config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name of the runs")
    parser.add_argument("--config", required=True, help="config to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and the results")
    parser.add_argument("--limit", type=int, help="records of each cell")
    parser.add_argument("--seeds", default="0,1", help="seeds, comma separated (%(default)s)")
    parser.add_argument("--moves", type=numbers, default="1,2,5", help="K (%(default)s)")
    parser.add_argument("--sizes", type=numbers, default="0.5,0.1,0.25,1,2", help="lambda (%(default)s)")
    parser.add_argument("--differences", type=numbers, default="0.005,0.0005,0.05,0.5", help="delta (%(default)s)")
    parser.add_argument("--guidances", type=numbers, default="1,2,5,12", help="1 alone without prompts (%(default)s)")
    parser.add_argument("--steps", type=numbers, default="20,5,10,50", help="levels (%(default)s)")
    parser.add_argument("--full", action="store_true", help="the whole product")
    args, overrides = parser.parse_known_args()
    args.axes = {
        "moves": [int(k) for k in args.moves],
        "size": args.sizes,
        "difference": args.differences,
        "guidance": args.guidances,
        "steps": [int(n) for n in args.steps],
    }
    return args, overrides


def main() -> None:
    """Run all cells, write the table, the plots and the pictures."""
    args, overrides = parse()
    rows, folders = [], {}
    for cell in cells(args.axes, args.full):
        rows.append(row(cell, run(cell, args, overrides)))
        folders[cell.name] = args.out / cell.name
        facts = {"command": " ".join(["python", *sys.argv]), "rows": rows}
        (args.out / "ablate.json").write_text(json.dumps(facts, indent=1) + "\n")
    (args.out / "ablate.md").write_text(table(rows))
    plot(rows, args.axes, args.out / "ablate.png")
    picture_rows(folders, args.out / "ablate-pictures.png")
    print(table(rows))


if __name__ == "__main__":
    main()

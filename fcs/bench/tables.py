"""A comparison for people: the table, the curves, the pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fcs.bench.comparison import Contest, Entrant
from fcs.bench.plots import Points, draw_lines, picture_columns
from fcs.bench.rows import COLUMNS, Row
from fcs.bench.truth import Truth, read_pictures, read_truth
from fcs.core.images import to_pil
from fcs.core.records import Batch, Record, collate
from fcs.engine.preflight import record_format
from fcs.shards.input.sources import resolve

SHOWN = 10  # records on a contact sheet
LEFT_OUT = ("energy_low", "energy_high", "memory", "note")  # shown otherwise, or last
OF_STYLE = ("style", "clip")  # shown where a row has them
PLOTTED = ("energy", "style", "residual")  # the first that a row has


def table(rows: list[Row], against: str, beside: list[dict[str, str | float]]) -> str:
    """The rows in Markdown, the paper's own in a table of their own."""
    names = [name for name in COLUMNS if name not in LEFT_OUT]
    names += [name for name in OF_STYLE if any(row[name] is not None for row in rows)]
    lines = head([*names, "memory, MiB", f"difference to {against}", "note"])
    for row in rows:
        memory = None if row["memory"] is None else row["memory"] / 2**20
        cells = {**{name: shown(row[name]) for name in names}, "energy": ranged(row, "energy")}
        lines.append(line([*cells.values(), shown(memory), ranged(row, "difference"), row["note"]]))
    if beside:
        lines += ["", *head(list(beside[0])), *(line([shown(value) for value in one.values()]) for one in beside)]
    return "\n".join(lines) + "\n"


def head(names: list[str]) -> list[str]:
    """A table's first two lines."""
    return [line(names), "|" + "---|" * len(names)]


def line(cells: list[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def shown(value: Any) -> str:
    """A cell: nothing for what does not exist."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def ranged(row: Row, name: str) -> str:
    """A figure with its interval."""
    if row[name] is None:
        return ""
    return f"{row[name]:.3g} ({row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g})"


def plot(rows: list[Row], path: Path) -> None:
    """Energy score, or where no row has one the style score or the residual, against calls; a line a method."""
    name = next((name for name in PLOTTED if any(row[name] is not None for row in rows)), PLOTTED[-1])
    lines: dict[str, Points] = {}
    for row in rows:
        if row[name] is not None:
            figure = {"mean": row[name], "low": row.get(f"{name}_low", row[name])}
            figure["high"] = row.get(f"{name}_high", row[name])
            lines.setdefault(row["method"], []).append((row["calls"] + 2 * row["backwards"], figure))
    if lines:
        panel = {method: sorted(points, key=lambda point: point[0]) for method, points in lines.items()}
        label = "denoiser calls a record, a backward counted as two"
        draw_lines({label: panel}, f"{name} (smaller is better)", path, (9, 6))


def pictures(contest: Contest, entrants: list[Entrant], path: Path) -> None:
    """Ten records drawn by seed 0: what is given, what each method made with the first seed, what is true."""
    run, _ = contest.trial(entrants[0]).loaded
    truth = read_truth(resolve(run.data.shards), record_format(run, contest.model), run.data.limit)
    order = np.random.default_rng(0).permutation(len(truth.pictures))[:SHOWN].tolist()
    keys = [list(truth.places)[i] for i in order]
    columns = {"given": dict(zip(keys, given(truth, order, run.task.given), strict=True))}
    for entrant in entrants:
        if entrant.levels is not None:
            columns[entrant.method.name] = read_pictures(contest.trial(entrant).out / f"seed-{contest.seeds[0]}")
    if contest.setup.truth:
        columns["true"] = {key: to_pil(truth.pictures[i]) for key, i in zip(keys, order, strict=True)}
    picture_columns(columns, path)


def given(truth: Truth, order: list[int], show: Callable[[Batch], Tensor]) -> list[Image.Image]:
    """What a task sees of the records at the places ``order``."""
    records = [Record(i, str(i), truth.pictures[i], truth.masks[i]) for i in order]
    channels, height, width = truth.pictures.shape[1:]
    return [to_pil(picture) for picture in show(collate("", 0, records, (channels, height, width), 0))]

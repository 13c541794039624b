"""A comparison for people: the table, the curves, the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from fcs.bench.comparison import Candidate, Comparison
from fcs.bench.plots import Points, draw_lines, picture_columns
from fcs.bench.rows import COLUMNS, Row
from fcs.bench.truth import Truth, read_pictures, read_truth
from fcs.core.collate import collate
from fcs.core.images import to_pil
from fcs.core.records import Batch, Record
from fcs.engine.pipeline_loading import record_format
from fcs.shards.input.sources import resolve

SHOWN = 10  # records on a contact sheet
LEFT_OUT = ("energy_low", "energy_high", "memory", "note")  # shown otherwise, or last
OF_STYLE = ("style", "clip")  # shown where a row has them
OF_POSTERIOR = ("consistency", "tv", "variety")  # the same
WITH_INTERVAL = ("energy", "consistency", "tv")
PLOTTED = ("energy", "style", "residual")  # the first that a row has


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table: numbers with four digits, an interval after its mean, nothing for what does not exist."""
    lines = [head, ["---"] * len(head), *([shown(value) for value in row] for row in rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def shown(value: Any) -> str:
    """A cell."""
    if isinstance(value, dict):
        return f"{value['mean']:.3g} ({value['low']:.3g} to {value['high']:.3g})"
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def table(rows: list[Row], against: str, beside: list[dict[str, str | float]]) -> str:
    """The rows in Markdown, the paper's own in a table of their own."""
    names = [name for name in COLUMNS if name not in LEFT_OUT]
    names += [name for name in (*OF_STYLE, *OF_POSTERIOR) if any(row[name] is not None for row in rows)]
    apart = ["difference", *(f"{name}_difference" for name in ("consistency", "tv") if name in names)]
    said = [" ".join(reversed(name.split("_"))) for name in apart]
    head = [*names, "memory, MiB", *(f"{name} to {against}" for name in said), "note"]
    cells = []
    for row in rows:
        memory = None if row["memory"] is None else row["memory"] / 2**20
        plain = [ranged(row, name) if name in WITH_INTERVAL else row[name] for name in names]
        cells.append([*plain, memory, *(ranged(row, name) for name in apart), row["note"]])
    published = markdown(list(beside[0]), [list(one.values()) for one in beside]) if beside else ""
    return markdown(head, cells) + (f"\n{published}" if beside else "")


def ranged(row: Row, name: str) -> dict[str, float] | None:
    """A figure with its interval."""
    if row[name] is None:
        return None
    return {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


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


def pictures(comparison: Comparison, candidates: list[Candidate], path: Path) -> None:
    """Ten records drawn by seed 0: what is given, what each method made with the first seed, what is true."""
    run, _ = comparison.trial(candidates[0]).loaded
    truth = read_truth(resolve(run.data.shards), record_format(run, comparison.model), run.data.limit)
    order = np.random.default_rng(0).permutation(len(truth.pictures))[:SHOWN].tolist()
    keys = [list(truth.places)[i] for i in order]
    columns = {"given": dict(zip(keys, given(truth, order, run.task.given), strict=True))}
    for candidate in candidates:
        if candidate.levels is not None:
            columns[candidate.method.name] = read_pictures(
                comparison.trial(candidate).out / f"seed-{comparison.seeds[0]}"
            )
    if comparison.setup.truth:
        columns["true"] = {key: to_pil(truth.pictures[i]) for key, i in zip(keys, order, strict=True)}
    picture_columns(columns, path)


def given(truth: Truth, order: list[int], show: Callable[[Batch], Tensor]) -> list[Image.Image]:
    """What a task sees of the records at the places ``order``."""
    records = [Record(i, str(i), truth.pictures[i], truth.masks[i]) for i in order]
    channels, height, width = truth.pictures.shape[1:]
    return [to_pil(picture) for picture in show(collate("", 0, records, (channels, height, width), 0))]

"""Plots with intervals, and the same records of several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from PIL import Image, ImageDraw

from fcs.bench.truth import read_pictures

mpl.use("agg")
LINES = cycler(linestyle=["-", "--", ":"]) * cycler(color=mpl.color_sequences["tab10"])  # 30 that differ
BESIDE: dict[str, Any] = {"fontsize": "small", "loc": "center left", "bbox_to_anchor": (1, 0.5)}
MOST_TICKS = 8  # places on an axis that are labelled one by one
MOST_INSIDE = 8  # lines in a legend that does not hide them
Points = list[tuple[float, dict[str, float]]]  # where, and a mean with its interval


def draw_lines(
    panels: dict[str, dict[str, Points]],
    label: str,
    path: Path,
    size: tuple[float, float] = (4, 3.5),
    top: float | None = None,
) -> None:
    """A panel a setting, of a size in inches, a line a label, with 95 % intervals; what is above ``top`` is cut."""
    figure, axes = plt.subplots(1, len(panels), figsize=(size[0] * len(panels), size[1]), sharey=True, squeeze=False)
    for axis, (name, lines) in zip(axes[0], panels.items(), strict=True):
        axis.set_prop_cycle(LINES)
        for text, points in lines.items():
            where = [place for place, _ in points]
            means = np.array([value["mean"] for _, value in points])
            below = means - [value["low"] for _, value in points]
            above = [value["high"] for _, value in points] - means
            axis.errorbar(where, means, [below, above], marker="o", capsize=3, label=text or None)
        axis.set_xscale("log")
        places = sorted({place for points in lines.values() for place, _ in points})
        if len(places) <= MOST_TICKS:
            axis.set_xticks(places, [f"{place:g}" for place in places])
            axis.minorticks_off()
        axis.set_xlabel(name)
        same = axis is not axes[0][-1] and list(lines) == list(list(panels.values())[-1])  # as the last panel's legend
        if any(lines) and not same:
            axis.legend(**(BESIDE if len(lines) > MOST_INSIDE else {}))
    axes[0][0].set_ylabel(label)
    if top is not None:
        axes[0][0].set_ylim(-0.05 * top, top)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_points(
    panels: dict[str, dict[str, tuple[dict[str, float], dict[str, float]]]], labels: tuple[str, str], path: Path
) -> None:
    """A panel a setting, a point a label with 95 % intervals along both axes; a legend beside the last panel."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels) + 2, 4), sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for points in panels.values() for name in points))
    colours = dict(zip(names, mpl.color_sequences["tab20"], strict=False))
    for axis, (title, points) in zip(axes[0], panels.items(), strict=True):
        for name, pair in points.items():
            (x, across), (y, along) = ((one["mean"], ends(one)) for one in pair)
            marker = "o^sDv"[names.index(name) % 5]
            axis.errorbar(x, y, along, across, marker=marker, capsize=2, color=colours[name], label=name)
        axis.set_title(title)
        axis.set_xlabel(labels[0])
    axes[0][0].set_ylabel(labels[1])
    seen = {label: line for axis in axes[0] for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.tight_layout()
    axes[0][-1].legend(list(seen.values()), list(seen), **BESIDE)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def ends(value: dict[str, float]) -> list[list[float]]:
    """Lengths of an error bar; a bootstrap interval of a biased figure may lie beside its mean."""
    return [[max(0.0, value["mean"] - value["low"])], [max(0.0, value["high"] - value["mean"])]]


def picture_rows(runs: dict[str, Path], path: Path, count: int = 10, seed: int = 0) -> None:
    """A row a run with its name, its first seed's pictures of ``count`` records drawn by ``seed``."""
    found = {name: read_pictures(next(iter(sorted(folder.glob("seed-*"))))) for name, folder in runs.items()}
    keys = sorted(set.intersection(*(set(one) for one in found.values())))
    chosen = [keys[i] for i in np.random.default_rng(seed).permutation(len(keys))[:count]]
    side, text = max(64, found[next(iter(found))][chosen[0]].width), 200
    sheet = Image.new("RGB", (text + len(chosen) * (side + 2), len(found) * (side + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for y, (name, made) in enumerate(found.items()):
        pen.text((4, y * (side + 2) + side // 2 - 5), name, "black")
        for x, key in enumerate(chosen):
            picture = made[key].convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (text + x * (side + 2), y * (side + 2)))
    sheet.save(path)


def picture_columns(columns: dict[str, dict[tuple[str, str], Image.Image]], path: Path, side: int = 80) -> None:
    """A column a name, a row a record of the first column; grey where a column lacks it."""
    rows = list(columns[next(iter(columns))])
    top, step = 14, side + 2
    sheet = Image.new("RGB", (len(columns) * step, top + len(rows) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for x, (name, made) in enumerate(columns.items()):
        pen.text((x * step + 2, 1), name, "black")
        for y, key in enumerate(rows):
            picture = made[key].convert("RGB") if key in made else Image.new("RGB", (1, 1), "#808890")
            sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x * step, top + y * step))
    sheet.save(path)

"""Lines of many methods against network calls, a few of them on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from fcs.bench.plots import Points, ends

ON_TOP = ("black", "crimson", "navy", "darkgreen")  # colours of lines over the others


@dataclass(frozen=True)
class Curve:
    """A method's line.

    Attributes:
        name: for the legend.
        points: calls and the figure there, in rising order; a single one is drawn as a star.
        on_top: whether it is thick, over the others and with its 95 % intervals.
    """

    name: str
    points: Points
    on_top: bool


def draw_curves(panels: dict[str, list[Curve]], calls: Sequence[int], path: Path) -> None:
    """A panel a figure, each with its own scale; one legend beside the last.

    Args:
        panels: by what the figure is called.
        calls: that are marked on the axis.
        path: PNG.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels) + 2, 4.4), squeeze=False)
    names = {one.name: one.on_top for lines in panels.values() for one in lines}
    above, others = cycle(ON_TOP), cycle(mpl.color_sequences["tab20"])
    colours = {name: next(above if on_top else others) for name, on_top in names.items()}
    for axis, (label, lines) in zip(axes[0], panels.items(), strict=True):
        for one in lines:
            _draw(axis, one, colours[one.name])
        axis.set_xscale("log")
        axis.set_xticks(calls, [f"{count}" for count in calls])
        axis.minorticks_off()
        axis.set_xlabel("network calls a picture")
        axis.set_title(label, fontsize="medium")
    handles, labels = axes[0][0].get_legend_handles_labels()
    axes[0][-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize="small", frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _draw(axis: Axes, one: Curve, colour: str | tuple[float, float, float]) -> None:
    where = [place for place, _ in one.points]
    means = [value["mean"] for _, value in one.points]
    star, dots = {"marker": "*", "markersize": 12, "linestyle": "none"}, {"marker": ".", "alpha": 0.8}
    style: dict[str, Any] = star if len(where) == 1 else dots
    if not one.on_top:
        axis.plot(where, means, color=colour, linewidth=1.1, label=one.name, zorder=2, **style)
        return
    bars = np.hstack([ends(value) for _, value in one.points])
    axis.errorbar(where, means, bars, color=colour, linewidth=3, marker="o", capsize=3, label=one.name, zorder=3)

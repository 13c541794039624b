"""Lines of many methods against network calls, a few of them on top."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from fcs.bench.plots import Points, ends


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


def draw_curves(panels: dict[str, list[Curve]], path: Path) -> None:
    """A panel a figure, each with its own scale; one legend beside the last.

    Args:
        panels: by what the figure is called.
        path: PNG.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels) + 2, 4.4), squeeze=False)
    names = list(dict.fromkeys(one.name for lines in panels.values() for one in lines))
    colours = dict(zip(names, mpl.color_sequences["tab20"], strict=False))
    for axis, (label, lines) in zip(axes[0], panels.items(), strict=True):
        for one in lines:
            _draw(axis, one, colours[one.name])
        places = sorted({place for one in lines for place, _ in one.points if one.on_top})
        axis.set_xscale("log")
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
        axis.set_xlabel("network calls a picture")
        axis.set_title(label, fontsize="medium")
    handles, labels = axes[0][0].get_legend_handles_labels()
    axes[0][-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize="small", frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _draw(axis: Axes, one: Curve, colour: tuple[float, float, float]) -> None:
    where = [place for place, _ in one.points]
    means = [value["mean"] for _, value in one.points]
    star, dots = {"marker": "*", "markersize": 12, "linestyle": "none"}, {"marker": ".", "alpha": 0.8}
    style: dict[str, Any] = star if len(where) == 1 else dots
    if not one.on_top:
        axis.plot(where, means, color=colour, linewidth=1.1, label=one.name, zorder=2, **style)
        return
    bars = np.hstack([ends(value) for _, value in one.points])
    axis.errorbar(where, means, bars, color=colour, linewidth=3, marker="o", capsize=3, label=one.name, zorder=3)

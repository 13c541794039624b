"""Figures: where their parts lie. The template ``html/figures.html`` draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcs.tools.report.number_format import number

WIDTH, HEIGHT = 360.0, 170.0  # of a figure, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 40.0, 8.0, 8.0, 34.0  # margins around the plotted area
FEWEST_BINS, MOST_BINS = 8, 40
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A rectangle in the colour of run number ``run``, with a tooltip."""

    x: float
    y: float
    width: float
    height: float
    tooltip: str
    run: int


@dataclass(frozen=True)
class Path:
    """A line or an area in the colour of run number ``run``; ``d`` is SVG's path."""

    d: str
    run: int
    area: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        label: what it shows, for screen readers.
        x_label, y_label: of the axes.
        xticks, yticks: marks on the axes.
        bars, paths: what is drawn.
        zero: place of x = 0, where it lies inside the figure.
        band: places of a mean and its interval (low, mean, high).
    """

    label: str
    x_label: str
    y_label: str
    xticks: tuple[Tick, ...]
    yticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    paths: tuple[Path, ...] = ()
    zero: float | None = None
    band: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Scale:
    """Maps values to places: ``low`` to ``start``, ``high`` to ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self, count: int) -> tuple[Tick, ...]:
        """About ``count`` marks at round values."""
        return tuple(Tick(self(value), number(value)) for value in round_values(self.low, self.high, count))


def round_values(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def x_scale(low: float, high: float) -> Scale:
    """The scale of a figure's x axis."""
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def y_scale(high: float) -> Scale:
    """The scale of a figure's y axis, from 0."""
    return Scale(0.0, high, HEIGHT - BOTTOM, TOP)


def histogram(
    values: Mapping[int, Values], label: str, axis: str, mean: tuple[float, float, float] | None = None
) -> Chart | None:
    """A histogram of each run: bars for a single run, outlines in percent for several.

    Args:
        values: the records' values by the run's number.
        label, axis: of the figure and its x axis.
        mean: (low, mean, high) to be marked.

    Returns:
        None where all values are the same, or there are none.
    """
    some = np.concatenate([*values.values(), np.empty(0)])
    if not len(some) or some.min() == some.max():
        return None
    bins = int(np.clip(math.sqrt(max(map(len, values.values()))) * 1.5, FEWEST_BINS, MOST_BINS))
    edges = np.linspace(some.min(), some.max(), bins + 1)
    several = len(values) > 1
    heights = {run: np.histogram(own, edges)[0].astype(float) for run, own in values.items()}
    if several:
        heights = {run: 100 * height / max(height.sum(), 1) for run, height in heights.items()}
    x, y = x_scale(float(edges[0]), float(edges[-1])), y_scale(max(float(height.max()) for height in heights.values()))
    bars = () if several else tuple(bar for run, height in heights.items() for bar in _bars(height, edges, x, y, run))
    paths = tuple(Path(_outline(height, edges, x, y), run) for run, height in heights.items()) if several else ()
    zero = x(0.0) if edges[0] < 0 < edges[-1] else None
    band = None if mean is None else (x(mean[0]), x(mean[1]), x(mean[2]))
    return Chart(label, axis, "% of records" if several else "records", x.ticks(5), y.ticks(3), bars, paths, zero, band)


def line_chart(
    curves: Mapping[int, tuple[Values, Values]],
    label: str,
    axes: tuple[str, str],
    bands: Mapping[int, tuple[Values, Values, Values]] | None = None,
) -> Chart | None:
    """Curves ``(x, y)`` by the run's number, on a y axis from 0, with bands ``(x, low, high)`` behind them.

    Returns:
        None where there is no point.
    """
    areas = bands or {}
    points = [curve for curve in curves.values() if len(curve[0])]
    if not points:
        return None
    x = x_scale(float(min(c[0].min() for c in points)), float(max(c[0].max() for c in points)))
    y = y_scale(float(max(ys.max() for ys in [c[1] for c in points] + [band[2] for band in areas.values()])) or 1.0)
    paths = [
        Path(_line(np.r_[xs, xs[::-1]], np.r_[low, high[::-1]], x, y) + "Z", number, area=True)
        for number, (xs, low, high) in areas.items()
    ]
    paths += [Path(_line(*curve, x, y), number) for number, curve in curves.items() if len(curve[0])]
    return Chart(label, *axes, x.ticks(5), y.ticks(3), paths=tuple(paths))


def _bars(counts: Values, edges: Values, x: Scale, y: Scale, run: int) -> Iterator[Bar]:
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            left, top = x(low), y(count)
            tooltip = f"{number(low)} to {number(high)}: {count:.0f}"
            yield Bar(left, top, round(x(high) - left - 0.8, 2), round(y(0) - top, 2), tooltip, run)


def _outline(heights: Values, edges: Values, x: Scale, y: Scale) -> str:
    steps = "".join(
        f"V{y(height)}H{x(edge)}" for height, edge in zip(heights.tolist(), edges[1:].tolist(), strict=True)
    )
    return f"M{x(float(edges[0]))} {y(0)}{steps}V{y(0)}"


def _line(xs: Values, ys: Values, x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x(a)} {y(b)}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True))

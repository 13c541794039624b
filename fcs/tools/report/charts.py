"""Where the parts of a figure lie; a template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 360.0, 170.0  # of a figure, in its own units
LEFT, RIGHT, TOP, BOTTOM = 40.0, 8.0, 8.0, 34.0  # around its field
FEWEST, MOST = 8, 40  # bins
MINUS, THIN, ABSENT = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}", "\N{EN DASH}"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A rectangle in the colour of a run, and what it says."""

    x: float
    y: float
    width: float
    height: float
    tip: str
    run: int


@dataclass(frozen=True)
class Path:
    """A line in the colour of a run, or an area."""

    d: str
    run: int
    area: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        label: what it shows, for those who do not see it.
        across, up: what its axes are.
        xticks, yticks: marks on them.
        bars, paths: what is drawn.
        zero: where x is 0, if that is to be seen.
        band: a mean and its interval, (low, mean, high), where it has one.
    """

    label: str
    across: str
    up: str
    xticks: tuple[Tick, ...]
    yticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    paths: tuple[Path, ...] = ()
    zero: float | None = None
    band: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Scale:
    """Values to places: ``low`` lies at ``start``, ``high`` at ``stop``."""

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
        return tuple(Tick(self(value), number(value)) for value in rounds(self.low, self.high, count))


def number(value: float) -> str:
    """A number for people: four digits that count, of ten millions and more with M, G or T."""
    for least, size, letter in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e7, 1e6, "M")):
        if abs(value) >= least:
            return f"{value / size:.4g} {letter}".replace("-", MINUS)
    form = ",.0f" if abs(value) >= 1000 else ".2g" if abs(value) < 1e-3 else ".4g"
    return f"{value:{form}}".replace(",", THIN).replace("-", MINUS)


def change(value: float) -> str:
    """A difference for people, with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def rounds(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten apart) from ``low`` to ``high``."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def across(low: float, high: float) -> Scale:
    """Of a figure's x axis."""
    return Scale(low, high, LEFT, WIDTH - RIGHT)


def up(high: float) -> Scale:
    """Of its y axis, from 0."""
    return Scale(0.0, high, HEIGHT - BOTTOM, TOP)


def histogram(
    values: Mapping[int, Values], label: str, axis: str, mean: tuple[float, float, float] | None = None
) -> Chart | None:
    """How often each value comes, by the run's number: bars for one run, outlines for several, as shares of each.

    Args:
        values: of the records.
        label, axis: of the figure and its x axis.
        mean: (low, mean, high) to be marked.

    Returns:
        None where all values are the same, or there are none.
    """
    some = np.concatenate([*values.values(), np.empty(0)])
    if not len(some) or some.min() == some.max():
        return None
    bins = int(np.clip(math.sqrt(max(map(len, values.values()))) * 1.5, FEWEST, MOST))
    edges = np.linspace(some.min(), some.max(), bins + 1)
    several = len(values) > 1
    heights = {run: np.histogram(own, edges)[0].astype(float) for run, own in values.items()}
    if several:
        heights = {run: 100 * height / max(height.sum(), 1) for run, height in heights.items()}
    x, y = across(float(edges[0]), float(edges[-1])), up(max(float(height.max()) for height in heights.values()))
    bars = () if several else tuple(bar for run, height in heights.items() for bar in _bars(height, edges, x, y, run))
    paths = tuple(Path(_outline(height, edges, x, y), run) for run, height in heights.items()) if several else ()
    zero = x(0.0) if edges[0] < 0 < edges[-1] else None
    band = None if mean is None else (x(mean[0]), x(mean[1]), x(mean[2]))
    return Chart(label, axis, "% of records" if several else "records", x.ticks(5), y.ticks(3), bars, paths, zero, band)


def lines(
    curves: Mapping[int, tuple[Values, Values]],
    label: str,
    axes: tuple[str, str],
    bands: Mapping[int, tuple[Values, Values, Values]] | None = None,
) -> Chart | None:
    """Curves ``(x, y)`` over one field from y = 0, by the run's number, and bands ``(x, low, high)`` behind them.

    None where there is no point.
    """
    areas = bands or {}
    points = [curve for curve in curves.values() if len(curve[0])]
    if not points:
        return None
    x = across(float(min(c[0].min() for c in points)), float(max(c[0].max() for c in points)))
    y = up(float(max(ys.max() for ys in [c[1] for c in points] + [band[2] for band in areas.values()])) or 1.0)
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
            tip = f"{number(low)} to {number(high)}: {count:.0f}"
            yield Bar(left, top, round(x(high) - left - 0.8, 2), round(y(0) - top, 2), tip, run)


def _outline(heights: Values, edges: Values, x: Scale, y: Scale) -> str:
    steps = "".join(
        f"V{y(height)}H{x(edge)}" for height, edge in zip(heights.tolist(), edges[1:].tolist(), strict=True)
    )
    return f"M{x(float(edges[0]))} {y(0)}{steps}V{y(0)}"


def _line(xs: Values, ys: Values, x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x(a)} {y(b)}" for a, b in zip(xs.tolist(), ys.tolist(), strict=True))

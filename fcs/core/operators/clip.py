"""Saturation: highlights and shadows beyond what a picture can hold."""

from __future__ import annotations

from torch import Tensor

from fcs.core.operators.cells import Cells, IntervalCell, coordinates_as_pixels, infinite_where

STEP = 1 / 255  # half a step of 8 bits, in pixels of [-1, 1]


class Saturation(Cells):
    """Contrast, and then whatever is too bright or too dark cut off: ``y = clip(gain x, low, high)``.

    A saturated pixel leaves a half-line, ``gain x >= high`` or ``gain x <= low``; any other leaves the 8-bit step that
    it was rounded to. A gain of 2 over the whole range is the "high dynamic range" task of Zhang et al. 2025 (DAPS).

    Args:
        gain: factor on pixels of [-1, 1], above 0.
        low: where shadows are cut off, in pixels of [-1, 1].
        high: where highlights are, above ``low`` and up to 1.

    Raises:
        ValueError: a gain that is not positive, an empty range or one outside [-1, 1].
    """

    known_as = "Clip"

    def __init__(self, gain: float = 2.0, low: float = -1.0, high: float = 1.0) -> None:
        if not 0 < gain < float("inf"):
            raise ValueError(f"gain={gain}: expected a number above 0")
        if not -1 <= low < high <= 1:
            raise ValueError(f"low={low}, high={high}: expected a range within -1 to 1")
        self.gain = gain
        self.low = low
        self.high = high

    def A(self, x: Tensor) -> Tensor:
        return (self.gain * x).clamp(self.low, self.high)

    def cell(self, y: Tensor) -> IntervalCell:
        given = y.flatten(1)
        # Where the end of the range lies between two bytes, the saturated pixels are at the nearer of them.
        dark, bright = given <= self.low + STEP, given >= self.high - STEP
        low = infinite_where((given - STEP) / self.gain, dark, -1)
        high = infinite_where((given + STEP) / self.gain, bright, 1)
        return IntervalCell(low, high, coordinates_as_pixels, lambda change: change.view_as(y))

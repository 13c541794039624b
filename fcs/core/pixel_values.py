"""Numbers of any type as 8-bit pixels. Where the type does not tell their range, the values do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
_SLACK = 1e-3  # of the range: what interpolation and rounding leave beyond its ends
RANGES = "0 to 1, 0 to 255 or 0 to 65535"


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Pixel values as 0 to 255.

    Booleans become 0 and 255, and uint16 is scaled. Floats and other integers may go to 1, to 255 or to 65535: the
    largest value decides.

    Args:
        values: of any shape.

    Raises:
        ValueError: no numbers, NaN or infinity, values below 0, or a largest value that could belong to two of the
            ranges.
    """
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"pixels of type {values.dtype}: expected numbers")
    floats = values.astype(np.float64)
    return np.rint(floats * (255 / _top(floats))).clip(0, 255).astype(np.uint8)


def _top(values: NDArray[np.float64]) -> int:
    """The end of the range that the values belong to. Between two ranges nothing is guessed."""
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinity among the pixels")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    for top, least in ((1, 0), (255, 2), (65535, 512)):
        whole = top == 255 and high >= 1 and bool((values == np.rint(values)).all())
        if low >= -_SLACK * top and (least <= high or whole) and high <= top * (1 + _SLACK):
            return top
    raise ValueError(f"pixels from {low:g} to {high:g}: expected {RANGES}")

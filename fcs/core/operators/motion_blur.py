"""Blur along a straight line."""

from __future__ import annotations

import math

import torch

from fcs.core.arguments import at_least
from fcs.core.operators.blur import Blur


class MotionBlur(Blur):
    """Blur along a straight line.

    Args:
        length: of the line in pixels, 1 or more.
        angle: in degrees, counter-clockwise from the horizontal.

    Raises:
        ValueError: a length below 1.
    """

    def __init__(self, length: float = 9.0, angle: float = 0.0) -> None:
        at_least(1, length=length)
        reach = math.ceil(length / 2)
        rows, columns = torch.meshgrid(torch.arange(-reach, reach + 1), torch.arange(-reach, reach + 1), indexing="ij")
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        along, across = columns * cosine - rows * sine, columns * sine + rows * cosine
        # A line one pixel wide: full within half a pixel of it, fading over the next.
        kernel = (length / 2 + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
        super().__init__(kernel / kernel.sum())

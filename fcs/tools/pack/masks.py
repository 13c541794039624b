"""Generated masks: white = generate, black = keep. Each depends on its seed and size alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]

# The part of the picture that each kind generates if nothing else is asked for.
FRACTIONS = {
    "half": 0.5,
    "left": 0.5,
    "right": 0.5,
    "top": 0.5,
    "bottom": 0.5,
    "box": 0.25,
    "freeform": 0.25,
    "random": 0.5,
    "outpaint": 0.75,
}


def draw(kind: str, width: int, height: int, fraction: float, seed: int) -> Image.Image:
    """A mask of one of the kinds in ``FRACTIONS``.

    Args:
        kind: ``left``, ``right``, ``top``, ``bottom``: that side. ``half``: one of the four, by chance. ``box``: a
            rectangle of the picture's proportions anywhere. ``freeform``: brush strokes. ``random``: each pixel by
            chance. ``outpaint``: all but a rectangle in the middle.
        width, height: in pixels.
        fraction: of the picture to generate, between 0 and 1. Sides are rounded to pixels; strokes are drawn
            until they cover it.
        seed: fixes what is left to chance.
    """
    rng = np.random.default_rng(seed)
    make = _MAKERS.get(kind)
    drawn = _side(kind, width, height, fraction, rng) if make is None else make(width, height, fraction, rng)
    return Image.fromarray(drawn)


def _side(kind: str, width: int, height: int, fraction: float, rng: np.random.Generator) -> Pixels:
    if kind == "half":
        kind = ("left", "right", "top", "bottom")[rng.integers(4)]
    mask = np.zeros((height, width), np.uint8)
    across = mask.T if kind in ("left", "right") else mask  # rows are what the side is counted in
    count = _part(len(across), fraction)
    across[:count] = 255
    return mask if kind in ("left", "top") else np.ascontiguousarray(mask[::-1, ::-1])


def _box(width: int, height: int, fraction: float, rng: np.random.Generator) -> Pixels:
    w, h = _part(width, math.sqrt(fraction)), _part(height, math.sqrt(fraction))
    left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + h, left : left + w] = 255
    return mask


def _outpaint(width: int, height: int, fraction: float, rng: np.random.Generator) -> Pixels:
    w, h = _part(width, math.sqrt(1 - fraction)), _part(height, math.sqrt(1 - fraction))
    left, top = (width - w) // 2, (height - h) // 2
    mask = np.full((height, width), 255, np.uint8)
    mask[top : top + h, left : left + w] = 0
    return mask


def _random(width: int, height: int, fraction: float, rng: np.random.Generator) -> Pixels:
    return np.where(rng.random((height, width)) < fraction, 255, 0).astype(np.uint8)


def _freeform(width: int, height: int, fraction: float, rng: np.random.Generator) -> Pixels:
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    while np.count_nonzero(np.asarray(mask)) < fraction * width * height:
        _stroke(pen, width, height, rng)
    return np.array(mask)


def _stroke(pen: Any, width: int, height: int, rng: np.random.Generator) -> None:
    """A bent line of round ends, between a twentieth and an eighth of the short side wide."""
    side = min(width, height)
    thick = max(1, round(side * rng.uniform(0.05, 0.125)))
    x, y, angle = rng.uniform(0, width - 1), rng.uniform(0, height - 1), rng.uniform(0, 2 * math.pi)
    for _ in range(int(rng.integers(4, 9))):
        angle += rng.normal(0, 0.6)
        length = side * rng.uniform(0.05, 0.2)
        start = (x, y)
        x = min(max(x + length * math.cos(angle), 0), width - 1)
        y = min(max(y + length * math.sin(angle), 0), height - 1)
        pen.line([start, (x, y)], fill=255, width=thick)
        pen.ellipse([x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2], fill=255)


def _part(side: int, fraction: float) -> int:
    """Pixels of a side: never none, and all only where there is but one."""
    return min(max(1, round(side * fraction)), max(1, side - 1))


_MAKERS: dict[str, Callable[[int, int, float, np.random.Generator], Pixels]] = {
    "box": _box,
    "outpaint": _outpaint,
    "random": _random,
    "freeform": _freeform,
}

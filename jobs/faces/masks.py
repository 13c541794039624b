"""Masks of what is to be generated: 255 there, 0 where the picture is given."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from faces.draws import Placement
from faces.render import matrix

Mask = Literal["half", "box", "band", "freeform"]
MASKS: tuple[Mask, ...] = get_args(Mask)
BAND = ((-60.0, 72.0), (324.0, 72.0), (324.0, 136.0), (-60.0, 136.0))  # brows and eyes, in the drawing
COVERED = 0.25  # of the picture, at least, by free-form strokes


def draw_mask(kind: Mask, placement: Placement, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask ``(size, size)``: half the picture, a box of half its side, a band over the eyes, or broad strokes."""
    mask = np.zeros((size, size), np.uint8)
    half = size // 2
    if kind == "half":
        mask[:half] = 255
        return np.rot90(mask, int(rng.integers(4))).copy()
    if kind == "box":
        top, left = rng.integers(size // 8, size - half - size // 8 + 1, 2)
        mask[top : top + half, left : left + half] = 255
        return mask
    if kind == "band":
        return fill(BAND, placement, size)
    while (mask > 0).mean() < COVERED:
        mask = np.maximum(mask, _stroke(size, rng))
    return mask


def fill(corners: tuple[tuple[float, float], ...], placement: Placement, size: int) -> NDArray[np.uint8]:
    """255 in a polygon of the drawing where it lies in the picture, ``(size, size)``."""
    a, b, c, d, e, f = matrix(placement, size)
    picture = Image.new("L", (size, size))
    ImageDraw.Draw(picture).polygon([(a * x + c * y + e - 0.5, b * x + d * y + f - 0.5) for x, y in corners], fill=255)
    return np.asarray(picture)


def _stroke(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One bent stroke, a tenth to a sixth of the side wide, with round ends."""
    picture = Image.new("L", (size, size))
    pen = ImageDraw.Draw(picture)
    width = float(rng.uniform(size / 10, size / 6))
    x, y = rng.uniform(0, size, 2)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(8, 25))):
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
        angle += rng.normal(0, 0.4)
        x, y = np.clip([x + width / 2 * np.cos(angle), y + width / 2 * np.sin(angle)], 0, size)
    return np.asarray(picture)

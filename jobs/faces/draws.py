"""Draws of faces: classes, where the head lies, and the gradient behind it, from (seed, split, index) alone."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from faces.attributes import ACCESSORY, ATTRIBUTES, HAIR, held_out

Split = Literal["train", "seen", "unseen"]
Colour = tuple[int, int, int]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Placement:
    """Where the drawing of 264 x 280 units lies: a shift in units, a scale, and a tilt in degrees."""

    right: float = 0.0
    down: float = 0.0
    scale: float = 1.27
    tilt: float = 0.0


@dataclass(frozen=True)
class Background:
    """A linear gradient between two light colours, at an angle in degrees."""

    first: Colour = (225, 230, 240)
    last: Colour = (225, 230, 240)
    angle: float = 0.0


@dataclass(frozen=True)
class Face:
    """One face: a class of each of ATTRIBUTES, in order, where it lies, and what is behind."""

    labels: tuple[int, ...]
    placement: Placement = Placement()
    background: Background = Background()

    @property
    def attributes(self) -> dict[str, str]:
        """The classes' names by attribute."""
        return {a.name: a.choices[label].name for a, label in zip(ATTRIBUTES, self.labels, strict=True)}


def generator(seed: int, split: Split, index: int) -> np.random.Generator:
    """The random numbers of one record."""
    return np.random.default_rng((seed, SPLITS.index(split), index))


def draw_face(split: Split, rng: np.random.Generator) -> Face:
    """A face of a split: pairs of hair and accessory are trained ones, or held-out ones for ``unseen``.

    Classes are independent of each other given that restriction, which is met by drawing again.
    """
    labels = draw_labels(rng)
    while held_out(int(labels[HAIR]), int(labels[ACCESSORY])) != (split == "unseen"):
        labels = draw_labels(rng)
    right, down = rng.uniform(-6, 6, 2)
    placement = Placement(float(right), float(down), float(rng.uniform(1.2, 1.34)), float(rng.uniform(-6, 6)))
    background = Background(_light(rng), _light(rng), float(rng.uniform(0, 360)))
    return Face(tuple(labels.tolist()), placement, background)


def draw_labels(rng: np.random.Generator) -> NDArray[np.int64]:
    """One class of each attribute, independently."""
    return np.array([rng.choice(len(a.choices), p=a.probabilities) for a in ATTRIBUTES])


def _light(rng: np.random.Generator) -> Colour:
    """A light colour, far from those of hair, so that hair shows before it."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.05, 0.3), rng.uniform(0.88, 1.0))
    return round(255 * red), round(255 * green), round(255 * blue)

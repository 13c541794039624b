"""Captions of faces: some of their attributes in words, or all of them."""

from __future__ import annotations

import numpy as np

from faces.attributes import ATTRIBUTES

NAMED = 0.7  # probability that a caption names an attribute
EMPTY = 0.1  # share of the captions that say nothing
STARTS = ("", "a face, ", "portrait, ")


def draw_caption(labels: tuple[int, ...], rng: np.random.Generator) -> str:
    """A caption that names each attribute with probability .7, in any order and wording; 10 % are empty."""
    chosen = [i for i in range(len(ATTRIBUTES)) if rng.uniform() < NAMED]
    if rng.uniform() < EMPTY or not chosen:
        return ""
    phrases = [_phrase(i, labels[i], int(rng.integers(2**16))) for i in rng.permutation(chosen).tolist()]
    return STARTS[int(rng.integers(len(STARTS)))] + ", ".join(phrases)


def full_caption(labels: tuple[int, ...]) -> str:
    """The caption that names every attribute, in order, in its first wording."""
    return ", ".join(_phrase(i, label, 0) for i, label in enumerate(labels))


def named(caption: str, labels: tuple[int, ...]) -> set[int]:
    """The attributes that a caption of a face with these labels names."""
    phrases = set(caption.split(", "))
    return {
        i
        for i, (own, label) in enumerate(zip(ATTRIBUTES, labels, strict=True))
        if phrases & {phrase.format(own.choices[label].name) for phrase in own.phrases}
    }


def _phrase(attribute: int, label: int, chance: int) -> str:
    own = ATTRIBUTES[attribute]
    return own.phrases[chance % len(own.phrases)].format(own.choices[label].name)

"""Exact draws of what a mask hides of a face: what a perfect sampler would complete it with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faces.attributes import ACCESSORY, ATTRIBUTES, HAIR, held_out
from faces.draws import Face
from faces.regions import State, states
from faces.render import render

SAME = 0.03 * 255  # of a pixel that is shown: Lanczos spreads so much of what is hidden beyond a pixel's neighbours


@dataclass(frozen=True)
class Hidden:
    """A face whose picture is hidden in part.

    Attributes:
        face: where it lies and what is behind are taken as known: any part that is shown tells them.
        picture: ``(size, size, 3)`` uint8.
        mask: ``(size, size)`` uint8, 255 where it is hidden.
    """

    face: Face
    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    def shows(self, other: NDArray[np.uint8]) -> bool:
        """Whether another picture shows the same where the mask hides nothing."""
        apart = np.abs(other.astype(float) - self.picture)[self.mask == 0]
        return bool(apart.size == 0 or apart.max() <= SAME)

    def with_labels(self, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The picture of the same face with other classes."""
        return render(replace(self.face, labels=tuple(labels.tolist())), len(self.mask))

    def probabilities(self) -> list[NDArray[np.float64]]:
        """Of the classes of each attribute, those left out that alone would change what is shown.

        An attribute that is determined keeps its class, an open one its probabilities.
        """
        left = states(self.mask, self.face.placement)
        found = []
        for number, attribute in enumerate(ATTRIBUTES):
            possible = [self._may_be(number, label, left[attribute.name]) for label in range(len(attribute.choices))]
            found.append(attribute.probabilities * possible)
        return [one / one.sum() for one in found]

    def _may_be(self, attribute: int, label: int, state: State) -> bool:
        if state != "part":
            return state == "open" or label == self.face.labels[attribute]
        labels = np.array(self.face.labels)
        labels[attribute] = label
        return self.shows(self.with_labels(labels))

    def draws(self, count: int, rng: np.random.Generator) -> tuple[list[NDArray[np.uint8]], int]:
        """Pictures of faces that show the same, each as likely as it is, and how many were tried for them.

        By rejection: classes are drawn by ``probabilities`` until a picture shows the same, so what two attributes
        can only do together is refused. Pairs of hair and accessory are held out as in the face's own split.

        Args:
            count: how many.
            rng: decides them.
        """
        each, found, tried = self.probabilities(), list[NDArray[np.uint8]](), 0
        apart = held_out(self.face.labels[HAIR], self.face.labels[ACCESSORY])
        while len(found) < count:
            labels = np.array([rng.choice(len(one), p=one) for one in each])
            if held_out(int(labels[HAIR]), int(labels[ACCESSORY])) == apart:
                tried += 1
                picture = self.with_labels(labels)
                if self.shows(picture):
                    found.append(picture)
        return found, tried

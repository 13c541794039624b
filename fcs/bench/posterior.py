"""Completions held against a posterior that is known: what is shown must be kept, what is hidden must vary as it does.

In a world of independent attributes a mask leaves each of a picture's attributes determined by what is shown, open
(wholly hidden, so it has its own probabilities), or partly shown, and then it is not judged. A classifier reads
completions. Its errors on the true pictures are in what is expected of a perfect sampler, and so are corrected for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fcs.core.intervals import DRAWS, bootstrap_interval
from fcs.metrics.attributes import World

DETERMINED, OPEN, PART = "determined", "open", "part"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Readings:
    """What a classifier read, and what is true.

    Attributes:
        world: the attributes and their distribution.
        found: class numbers of the completions, ``(S, N, A)``: S seeds of N records.
        read_truth: class numbers that the classifier reads of the true pictures, ``(N, A)``.
        truth: true class numbers, ``(N, A)``.
        states: ``determined``, ``open`` or ``part``, ``(N, A)``.
        trained: whether the records are of pairs of classes that occur; else attributes with such pairs are not open.
    """

    world: World
    found: NDArray[np.int64]
    read_truth: NDArray[np.int64]
    truth: NDArray[np.int64]
    states: NDArray[np.str_]
    trained: bool = True

    @property
    def right(self) -> Floats:
        """The share of a record's completions that keep a determined attribute, ``(N, A)``; NaN for others."""
        share = (self.found == self.truth).mean(0)
        return np.where(self.states == DETERMINED, share, np.nan)

    @property
    def consistency(self) -> Floats:
        """Of each record the mean over its determined attributes, ``(N,)``; NaN where it has none."""
        return _mean(self.right)

    @cached_property
    def open(self) -> NDArray[np.bool_]:
        """Which attributes of which records are judged for calibration, ``(N, A)``."""
        restricted = [any(a == i for pair in self.world.excluded for a, _ in pair) for i in range(self.truth.shape[1])]
        return (self.states == OPEN) & (self.trained | ~np.array(restricted))

    def expected(self, attribute: int) -> Floats:
        """What the classifier reads of a perfect sampler's completions, ``(n, C)`` for the n records that are open."""
        rows = self.open[:, attribute].nonzero()[0]
        known = [
            {i: int(self.truth[row, i]) for i in (self.states[row] == DETERMINED).nonzero()[0].tolist()} for row in rows
        ]
        prior = np.stack([self.world.posterior(attribute, shown) for shown in known])
        return prior @ self._confusion(attribute)

    def _confusion(self, attribute: int) -> Floats:
        """How often a true class is read as each class, ``(C, C)``; classes that no record has are read right."""
        count = len(self.world.attributes[attribute].classes)
        table = np.zeros((count, count))
        np.add.at(table, (self.truth[:, attribute], self.read_truth[:, attribute]), 1)
        seen = table.sum(1, keepdims=True)
        return np.where(seen > 0, table / np.maximum(seen, 1), np.eye(count))


def report(readings: Readings, seed: int = 0) -> dict[str, Any]:
    """Consistency and calibration by attribute and in the mean, with 95 % intervals over records.

    ``consistency``: share of right completions by determined attribute, ``n`` records; ``floor`` is the same of the
    true pictures. ``calibration``: total variation between the pooled classes of the completions and what is expected
    of a perfect sampler (0 to 1), its mean for a perfect sampler of as many completions (``perfect``), chi-square with
    its degrees of freedom and share of perfect samplers that are as far away (``p``), and how often two seeds of a
    record differ (``variety``) with what is expected. ``part``: share of completions that have the true class of an
    attribute that shows in part, over ``n`` of them; how many could is not known here, so it judges nothing.
    """
    rng = np.random.default_rng(seed)
    names = readings.world.names
    drawn = _resampled(len(readings.truth), rng)
    kept = {name: _kept(readings, i) for i, name in enumerate(names)}
    parts = excess(readings)
    varied = {name: _varied(readings, i, parts[name], drawn, rng) for i, name in enumerate(names) if name in parts}
    found: dict[str, Any] = {
        "consistency": {name: one for name, one in kept.items() if one is not None},
        "calibration": varied,
    }
    in_part = readings.states == PART
    if in_part.any():
        found["part"] = {"share": float((readings.found == readings.truth)[:, in_part].mean()), "n": int(in_part.sum())}
    for part, columns in (
        ("consistency", ("share", "floor")),
        ("calibration", ("tv", "perfect", "variety", "expected")),
    ):
        if found[part]:
            means = {name: float(np.mean([one[name] for one in found[part].values()])) for name in columns}
            found[part]["mean"] = means
    if found["calibration"]:
        mean = found["calibration"]["mean"]
        mean |= _tv_interval(mean["tv"], np.mean([_tv_of(part, drawn) for part in parts.values()], 0))
    return found


def pooled_variation(calibration: Mapping[str, Any]) -> dict[str, float] | None:
    """Of a report's ``calibration`` the mean over attributes, with its interval; None where nothing is open."""
    mean = calibration.get("mean")
    return mean and {"mean": mean["tv"], "low": mean["low"], "high": mean["high"]}


def _kept(readings: Readings, attribute: int) -> dict[str, Any] | None:
    right = readings.right[:, attribute]
    there = ~np.isnan(right)
    if not there.any():
        return None
    floor = (readings.read_truth == readings.truth)[there, attribute].mean()
    count = int(there.sum())
    share, low, high = bootstrap_interval(torch.from_numpy(right[there]), torch.arange(count))
    return {"share": share, "low": low, "high": high, "floor": float(floor), "n": count}


def _varied(
    readings: Readings, attribute: int, part: Floats, drawn: Floats, rng: np.random.Generator
) -> dict[str, Any]:
    """Calibration of an attribute that is open in some record; ``part`` is its ``excess``."""
    rows = readings.open[:, attribute]
    labels, expected = readings.found[:, rows, attribute], readings.expected(attribute)
    seeds, count = labels.shape
    shares = _one_hot(labels, expected.shape[1]).mean(0)
    wanted = expected.mean(0)
    tv = total_variation(shares.mean(0), wanted)
    counts = _perfect_counts(expected, seeds, rng)
    chance = np.array([_chi_square(one, wanted) for one in counts])
    chi = _chi_square(shares.sum(0) * seeds, wanted)
    return {
        "tv": tv,
        **_tv_interval(tv, _tv_of(part, drawn)),
        "perfect": float(np.mean([total_variation(one / (seeds * count), wanted) for one in counts])),
        "chi_square": chi,
        "degrees": int((wanted > 0).sum()) - 1,
        "p": float((1 + (chance >= chi).sum()) / (1 + len(chance))),
        "variety": variety(labels),
        "expected": float(1 - (expected**2).sum(1).mean()),
        "n": count,
        "found": [round(float(value), 4) for value in shares.mean(0)],
        "wanted": [round(float(value), 4) for value in wanted],
    }


def excess(readings: Readings) -> dict[str, Floats]:
    """Of each attribute that is open in some record, the found minus the expected shares of its classes, ``(N, C)``.

    NaN where it is not open in a record. This is what a bootstrap over records needs.
    """
    judged = np.flatnonzero(readings.open.any(axis=0)).tolist()
    return {readings.world.names[i]: _excess(readings, i) for i in judged}


def tv_difference(here: Mapping[str, Floats], there: Mapping[str, Floats], seed: int = 0) -> dict[str, float]:
    """One method's total variation minus another's, in the mean over attributes, with its 95 % interval.

    Args:
        here: ``excess`` of the one.
        there: of the other, on the same records in the same order.
        seed: of the bootstrap over records.
    """
    pairs = [(here[name], there[name]) for name in here if name in there]

    def apart(weights: Floats) -> Floats:
        found: Floats = np.mean([_tv_of(a, weights) - _tv_of(b, weights) for a, b in pairs], 0)
        return found

    count = len(pairs[0][0])
    mean = float(apart(np.ones((1, count)))[0])
    low, high = _basic(mean, apart(_resampled(count, np.random.default_rng(seed))))
    return {"mean": mean, "low": low, "high": high}


def _excess(readings: Readings, attribute: int) -> Floats:
    part = np.full((len(readings.truth), len(readings.world.attributes[attribute].classes)), np.nan)
    rows = readings.open[:, attribute]
    part[rows] = _one_hot(readings.found[:, rows, attribute], part.shape[1]).mean(0) - readings.expected(attribute)
    return part


def total_variation(a: Floats, b: Floats) -> float:
    """Between two distributions ``(C,)``, 0 to 1."""
    return float(0.5 * np.abs(a - b).sum())


def variety(labels: NDArray[np.int64]) -> float:
    """How often two seeds of a record differ, over all pairs, of class numbers ``(S, N)``; NaN of one seed."""
    seeds = len(labels)
    pairs = [(labels[a] != labels[b]).mean() for a in range(seeds) for b in range(a)]
    return float(np.mean(pairs)) if pairs else float("nan")


def readings_of(
    world: World,
    found: NDArray[np.int64],
    read_truth: NDArray[np.int64],
    facts: Sequence[dict[str, Any]],
) -> Readings | None:
    """The readings of records whose JSON has ``attributes`` and ``states`` by name; None where one has not.

    Args:
        world: of the classifier.
        found: as ``Readings.found``.
        read_truth: as ``Readings.read_truth``.
        facts: each record's own JSON; ``split: unseen`` says that its pairs of classes do not occur.
    """
    if not describes(world, facts):
        return None
    truth = np.array([world.labels(fact["attributes"]) for fact in facts])
    states = np.array([[fact["states"][name] for name in world.names] for fact in facts])
    return Readings(world, found, read_truth, truth, states, all(fact.get("split") != "unseen" for fact in facts))


def describes(world: World, facts: Sequence[dict[str, Any]]) -> bool:
    """Whether records say of all attributes which class is true and what their masks leave of it."""
    names = set(world.names)
    pairs = [(fact.get("attributes"), fact.get("states")) for fact in facts]
    return bool(pairs) and all(
        isinstance(classes, dict) and isinstance(states, dict) and names <= classes.keys() and names == states.keys()
        for classes, states in pairs
    )


def _mean(values: Floats) -> Floats:
    """Means of rows over what is not NaN, ``(N,)``; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(1)
    return np.where(count > 0, np.where(there, values, 0).sum(1) / np.maximum(count, 1), np.nan)


def _one_hot(labels: NDArray[np.int64], classes: int) -> Floats:
    return np.eye(classes)[labels]


def _chi_square(counts: Floats, wanted: Floats) -> float:
    """Against expected shares; infinite where a class is found that cannot be."""
    expected = counts.sum() * wanted
    if (counts[wanted == 0] > 0).any():
        return float("inf")
    there = wanted > 0
    return float(((counts[there] - expected[there]) ** 2 / expected[there]).sum())


def _perfect_counts(expected: Floats, seeds: int, rng: np.random.Generator) -> Floats:
    """Pooled counts of perfect samplers, ``(DRAWS, C)``: each record draws ``seeds`` times from its own ``(n, C)``."""
    kinds, number = np.unique(expected, axis=0, return_counts=True)
    drawn = [rng.multinomial(n * seeds, p, DRAWS) for p, n in zip(kinds, number, strict=True)]
    return np.stack(drawn).sum(0).astype(float)


def _resampled(count: int, rng: np.random.Generator) -> Floats:
    """How often each record is drawn in each bootstrap sample, ``(DRAWS, N)``."""
    return rng.multinomial(count, np.full(count, 1 / count), DRAWS).astype(float)


def _tv_of(part: Floats, weights: Floats) -> Floats:
    """Total variation of pooled shares, ``(D,)``, from an ``excess`` ``(N, C)`` and weights of the records ``(D, N)``.

    A sample without a record that is open has none.
    """
    there = ~np.isnan(part[:, 0])
    own = weights[:, there]
    pooled = own @ part[there] / np.maximum(own.sum(1, keepdims=True), 1)
    found: Floats = 0.5 * np.abs(pooled).sum(1)
    return found


def _tv_interval(value: float, draws: Floats) -> dict[str, float]:
    """``low`` and ``high`` of a total variation, which is not below 0."""
    low, high = _basic(value, draws)
    return {"low": max(0.0, low), "high": max(0.0, high)}


def _basic(value: float, draws: Floats) -> tuple[float, float]:
    """95 % interval of the basic bootstrap (Davison and Hinkley 1997, 5.2), from a value and its bootstrap samples.

    A total variation is biased upwards by chance, that of a bootstrap sample twice; this interval is of the unbiased
    one and so may lie below the value.
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(2 * value - high), float(2 * value - low)

"""Which records a report shows: the ends and the middle of each score, some by lot, some of each failure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from fcs.tools.report.read import COSTS, FinishedRun, Key
from fcs.tools.report.scores import aim, badness, paired

BY_LOT = 4  # one of so many records is drawn by lot
FAILED = 3  # failed records of each code


@dataclass(frozen=True)
class Reason:
    """Why a record is shown.

    Attributes:
        kind: ``best``, ``typical``, ``worst`` of one run; ``gain``, ``usual``, ``loss`` beside the first run; ``lot``,
            ``failed``.
        score: by which; "" where by none.
        run: number of the run beside the first, 0 where it is about one run only.
        rank: how many have more reason of this kind.
    """

    kind: str
    score: str = ""
    run: int = 0
    rank: int = 0


@dataclass
class Chosen:
    """A record to show.

    Attributes:
        key: shard and key.
        reasons: why, the first one first.
    """

    key: Key
    reasons: list[Reason] = field(default_factory=list)


def choose(runs: Sequence[FinishedRun], most: int) -> list[Chosen]:
    """At most ``most`` records that have a result: in turn the extremes and the middle by each score, and some by lot.

    Those for which there is most reason come first. Several runs are judged by how they differ from the first, on the
    records that they share.
    """
    keys = sorted(set(_good(runs[0])).union(*map(_good, runs[1:])))
    lot = random.Random(0).sample(keys, min(len(keys), -(-most // BY_LOT)))
    found = {key: Chosen(key) for key in lot}
    for turn in zip_longest(*_wishes(runs)):
        for wish in turn:
            if wish is not None and (wish[0] in found or len(found) < most):
                found.setdefault(wish[0], Chosen(wish[0])).reasons.append(wish[1])
        if len(found) >= most:
            break
    first = sorted(found.values(), key=lambda one: min((reason.rank for reason in one.reasons), default=most))
    for rank, key in enumerate(lot):
        found[key].reasons.append(Reason("lot", rank=rank))
    return first


def failed(run: FinishedRun) -> dict[str, list[tuple[Key, str]]]:
    """The first failed records by code: (shard, key), what is said of it. A torn end has the key ""."""
    found: dict[str, list[tuple[Key, str]]] = {}
    for row in run.bad.select(["shard", "key", "error"]).to_pylist():
        code, _, detail = (row["error"] or "unknown").partition(":")
        samples = found.setdefault(code, [])
        if len(samples) < FAILED:
            samples.append(((row["shard"], row["key"] or ""), detail.strip()))
    return found


def _good(run: FinishedRun) -> list[Key]:
    rows = run.good.select(["shard", "key"]).to_pydict()
    return list(zip(rows["shard"], rows["key"], strict=True))


def _wishes(runs: Sequence[FinishedRun]) -> list[Iterator[tuple[Key, Reason]]]:
    """For each score, and each run beside the first, its records from both ends and from the middle."""
    names = [name for name in runs[0].scores if name not in COSTS]
    if len(runs) == 1:
        orders = [(name, 0, _ordered(name, runs[0].values(name))) for name in names]
        return [_ends(order, ("best", "typical", "worst"), name, run) for name, run, order in orders]
    found = []
    for name in names:
        for number, run in enumerate(runs[1:], 1):
            order = _gains(run, runs[0], name)
            found.append(_ends(order, ("gain", "usual", "loss"), name, number))
    return found


def _ordered(name: str, values: Mapping[Key, float]) -> list[Key]:
    return sorted(values, key=lambda key: badness(name, values[key]))


def _gains(run: FinishedRun, first: FinishedRun, name: str) -> list[Key]:
    """The records that both have, those where the run is better by most first; by value where better is unknown."""
    here, there = run.values(name), first.values(name)
    sign = -1 if aim(name) == "unknown" else 1
    return sorted(
        paired(run, first, name), key=lambda key: sign * (badness(name, here[key]) - badness(name, there[key]))
    )


def _ends(order: Sequence[Key], kinds: tuple[str, str, str], name: str, run: int) -> Iterator[tuple[Key, Reason]]:
    """Best, middle and worst in turn, each record of the order at most once."""
    middle = len(order) // 2
    around = sorted(range(len(order)), key=lambda place: abs(place - middle))
    seen: set[int] = set()
    for rank, central in enumerate(around):
        for place, kind in ((rank, kinds[0]), (len(order) - 1 - rank, kinds[2]), (central, kinds[1])):
            if place not in seen:
                seen.add(place)
                yield order[place], Reason(kind, name, run, rank)

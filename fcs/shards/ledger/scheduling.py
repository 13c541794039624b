"""In which order a process goes over the shards of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

AHEAD = 2  # shards that are open or being opened before their turn
LOOK = 8  # shards that a process looks at again while it waits for others


class Step(NamedTuple):
    """A shard to go over.

    Attributes:
        number: of the shard.
        own: which of its slices: those that this process begins with, the others, or (None) all.
        begin: the fraction of them to begin at, so that processes on one large shard do not all ask for the same one.
    """

    number: int
    own: bool | None
    begin: float


def walk(active: Sequence[int], rank: int, world: int, exclusive: bool) -> list[Step]:
    """All shards, each process from its own place on.

    Args:
        active: numbers of the shards.
        rank, world: of this process among all that were started together.
        exclusive: whether the store can tell who claimed a slice first. Where it cannot, each process takes those
            that nobody else begins with.
    """
    start, rest = divmod(rank * len(active), world)
    order = [*active[start:], *active[:start]]
    passes = [None] if exclusive else [True, False]
    return [Step(number, own, 0.0 if place else rest / world) for own in passes for place, number in enumerate(order)]


def window(steps: Sequence[Step], waits: int) -> list[Step]:
    """All steps, or after ``waits`` walks that found nothing free a few of them, each time the next.

    Thousands of processes that wait for the last ones would keep the file server busy otherwise.
    """
    if not waits:
        return list(steps)
    first = (waits - 1) * LOOK % max(1, len(steps))
    return [*steps, *steps][first : first + min(LOOK, len(steps))]

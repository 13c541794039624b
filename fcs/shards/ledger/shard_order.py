"""In which order a process visits the shards of a run, so that processes do not all ask for the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OPEN_AHEAD = 2  # shards that are open or being opened before their turn
POLLED_SHARDS = 8  # shards that a process visits again while it waits for others
PASSED = 16  # shards in which others have all that is to do, after which a process of a large run gives a walk up
WALKED = 1 << 15  # such visits of all processes together that cost a file server little


class ShardVisit(NamedTuple):
    """A shard whose slices a process tries to claim.

    Attributes:
        number: of the shard.
        own: which of its slices: those that this process begins with, the others, or (None) all.
        start: the fraction of them to begin at, so that processes on one large shard do not all ask for the same one.
    """

    number: int
    own: bool | None
    start: float


def shard_order(active: Sequence[int], rank: int, world: int, exclusive: bool) -> list[ShardVisit]:
    """All shards, each process from its own place on.

    Args:
        active: numbers of the shards.
        rank, world: of this process among all that were started together.
        exclusive: whether the store can tell who claimed a slice first. Where it cannot, each process takes the slices
            that no other process begins with, and only then the rest.
    """
    first, rest = divmod(rank * len(active), world)
    order = [*active[first:], *active[:first]]
    passes = [None] if exclusive else [True, False]
    visits = [(number, 0.0 if place else rest / world) for place, number in enumerate(order)]
    return [ShardVisit(number, own, start) for own in passes for number, start in visits]


def most_passed(world: int) -> int:
    """How many shards in a row a process passes, of which others have all that is to do, before it waits for them.

    When the work runs out, each of W processes would look at the shards of all W. What lies further on, the processes
    find that begin there.
    """
    return max(PASSED, WALKED // world)


def polled_shards(visits: Sequence[ShardVisit], idle_passes: int) -> list[ShardVisit]:
    """All visits; after ``idle_passes`` that found nothing free only a few of them, each time the next ones.

    Otherwise thousands of processes that wait for the last batches would keep the file server busy.
    """
    if not idle_passes:
        return list(visits)
    first = (idle_passes - 1) * POLLED_SHARDS % max(1, len(visits))
    return [*visits, *visits][first : first + min(POLLED_SHARDS, len(visits))]

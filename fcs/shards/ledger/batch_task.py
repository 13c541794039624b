"""Batches to do, and how: whole beside others, or one record at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fcs.shards.ledger.crash_markers import TRIES, CrashMarker, alone, deaths


class BatchTask(NamedTuple):
    """A batch to do.

    Attributes:
        source, batch: numbers of the shard and of its batch.
        wanted: records of the batch that are wanted, each at its own slot.
        crashed: how often the process died with the one that is wanted, the last time with it alone; it is not to be
            tried again but to become a failed row. 0 for all others.
    """

    source: int
    batch: int
    wanted: tuple[int, ...]
    crashed: int = 0


def sort_out(todo: Sequence[BatchTask], left: Sequence[CrashMarker]) -> tuple[list[BatchTask], list[BatchTask]]:
    """What can be done beside others, and what must be done alone: the first record of each batch under suspicion.

    Args:
        todo: batches with all their records that are missing.
        left: marks that processes died with.
    """
    ready, singles = [], []
    for item in todo:
        crashed = next((index for index in item.wanted if alone(left, index)), None)
        if crashed is not None:
            ready.append(item._replace(wanted=(crashed,), crashed=deaths(left, crashed, crashed + 1)))
        elif deaths(left, item.wanted[0], item.wanted[-1] + 1) >= TRIES:
            singles.append(item._replace(wanted=item.wanted[:1]))
        else:
            ready.append(item)
    return ready, singles

"""Batch tasks: which records of a batch are to be sampled, and whether with others or one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fcs.shards.ledger.crash_markers import TRIES, CrashMarker, crash_count, crashed_alone


class BatchTask(NamedTuple):
    """A batch to sample.

    Attributes:
        source, batch: numbers of the shard and of its batch.
        wanted: records of the batch that are wanted, each at its own slot.
        crashed: how often processes died with the one record that is wanted, the last time with it alone. It is not to
            be sampled again but becomes a failed row. 0 for all others.
    """

    source: int
    batch: int
    wanted: tuple[int, ...]
    crashed: int = 0


def split_suspects(
    tasks: Sequence[BatchTask], markers: Sequence[CrashMarker]
) -> tuple[list[BatchTask], list[BatchTask]]:
    """Tasks that can be done beside others, and those that must be done alone.

    A batch with which too many processes died is done one record at a time; its first record is the task then.

    Args:
        tasks: batches with all their records that are missing.
        markers: what crashed processes left.
    """
    ready, alone = [], []
    for task in tasks:
        crashed = next((index for index in task.wanted if crashed_alone(markers, index)), None)
        if crashed is not None:
            ready.append(task._replace(wanted=(crashed,), crashed=crash_count(markers, crashed, crashed + 1)))
        elif crash_count(markers, task.wanted[0], task.wanted[-1] + 1) >= TRIES:
            alone.append(task._replace(wanted=task.wanted[:1]))
        else:
            ready.append(task)
    return ready, alone

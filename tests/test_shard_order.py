"""Where processes begin, and what those that wait look at."""

from __future__ import annotations

import pytest

from fcs.shards.ledger.shard_order import POLLED_SHARDS, ShardVisit, polled_shards, shard_order


def test_alone_from_the_beginning() -> None:
    visits = [ShardVisit(number, None, 0) for number in (3, 5, 9)]
    assert shard_order([3, 5, 9], 0, 1, exclusive=True) == visits


@pytest.mark.parametrize(("shards", "world"), [(40, 4), (1, 7), (5, 12), (12, 5)])
def test_processes_begin_evenly_and_see_all(shards: int, world: int) -> None:
    walks = [shard_order(range(shards), rank, world, exclusive=True) for rank in range(world)]
    assert all(sorted(step.number for step in steps) == list(range(shards)) for steps in walks)
    begins = [steps[0].number + steps[0].start for steps in walks]
    assert begins == pytest.approx([rank * shards / world for rank in range(world)])
    assert all(step.start == 0 for steps in walks for step in steps[1:])


def test_without_exclusive_creation_own_slices_come_first() -> None:
    assert [step.own for step in shard_order([0, 1], 1, 2, exclusive=False)] == [True, True, False, False]


def test_who_waits_looks_at_a_few_and_in_turn_at_all() -> None:
    steps = shard_order(range(3 * POLLED_SHARDS + 1), 0, 1, exclusive=True)
    assert polled_shards(steps, 0) == steps
    turns = [polled_shards(steps, waits) for waits in range(1, 6)]
    assert {len(turn) for turn in turns} == {POLLED_SHARDS}
    assert {step for turn in turns for step in turn} == set(steps)
    assert polled_shards(steps[:3], 7) in ([*steps[:3]], [*steps[1:3], steps[0]], [steps[2], *steps[:2]])
    assert polled_shards([], 4) == []

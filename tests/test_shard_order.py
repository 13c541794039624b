"""Where processes begin, and what those that wait look at."""

from __future__ import annotations

import pytest

from fcs.shards.ledger.shard_order import POLLED_SHARDS, ShardVisit, polled_shards, shard_order


def test_alone_from_the_beginning() -> None:
    visits = [ShardVisit(number, None, 0) for number in (3, 5, 9)]
    assert shard_order([3, 5, 9], 0, 1, exclusive=True) == visits


@pytest.mark.parametrize(("shards", "world"), [(40, 4), (1, 7), (5, 12), (12, 5)])
def test_processes_begin_evenly_and_see_all(shards: int, world: int) -> None:
    orders = [shard_order(range(shards), rank, world, exclusive=True) for rank in range(world)]
    assert all(sorted(visit.number for visit in visits) == list(range(shards)) for visits in orders)
    begins = [visits[0].number + visits[0].start for visits in orders]
    assert begins == pytest.approx([rank * shards / world for rank in range(world)])
    assert all(visit.start == 0 for visits in orders for visit in visits[1:])


def test_without_exclusive_creation_own_slices_come_first() -> None:
    assert [visit.own for visit in shard_order([0, 1], 1, 2, exclusive=False)] == [True, True, False, False]


def test_who_waits_looks_at_a_few_and_in_turn_at_all() -> None:
    visits = shard_order(range(3 * POLLED_SHARDS + 1), 0, 1, exclusive=True)
    assert polled_shards(visits, 0) == visits
    turns = [polled_shards(visits, waits) for waits in range(1, 6)]
    assert {len(turn) for turn in turns} == {POLLED_SHARDS}
    assert {visit for turn in turns for visit in turn} == set(visits)
    assert polled_shards(visits[:3], 7) in ([*visits[:3]], [*visits[1:3], visits[0]], [visits[2], *visits[:2]])
    assert polled_shards([], 4) == []

"""Reading ahead gives the work's batches in order, each record in its own slot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fcs.engine.read_ahead import ReadAhead, Readers
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.shards.ledger.batch_task import BatchTask

FORM = Format(1, 16, 16, needs_mask=True)


def batches(shard: Path, work: list[BatchTask], workers: int) -> ReadAhead:
    readers = Readers(resolve(str(shard)), FORM)
    return ReadAhead(iter(work), readers, batch_size=8, seed=0, prompt="", workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_in_order_and_in_place(digits_shard: Path, workers: int) -> None:
    work = [BatchTask(0, 0, tuple(range(8))), BatchTask(0, 2, (17, 20)), BatchTask(0, 5, tuple(range(40, 48)))]
    ahead = batches(digits_shard, work, workers)
    found = list(ahead)
    ahead.readers.close()
    assert [batch.number for batch in found] == [0, 2, 5]
    assert [record is not None for record in found[1].records] == [False, True, False, False, True] + [False] * 3
    assert found[1].records[1] is not None
    assert found[1].records[1].index == 17


def test_work_is_taken_late(digits_shard: Path) -> None:
    taken = []

    def work() -> Iterator[BatchTask]:
        for number in range(6):
            taken.append(number)
            yield BatchTask(0, number, (number * 8,))

    ahead = ReadAhead(work(), Readers(resolve(str(digits_shard)), FORM), 8, 0, "", workers=2)
    reading = iter(ahead)
    next(reading)
    assert len(taken) == 3
    reading.close()  # type: ignore[attr-defined]
    ahead.readers.close()


def test_an_error_in_a_thread_is_raised(digits_shard: Path) -> None:
    ahead = batches(digits_shard, [BatchTask(0, 0, (0,)), BatchTask(7, 0, (0,))], workers=2)
    with pytest.raises(IndexError):
        list(ahead)
    ahead.readers.close()


def test_readers_close_what_was_not_asked_for_longest(digits_shard: Path, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.tar").write_bytes(digits_shard.read_bytes())
    readers = Readers(resolve(f"{tmp_path}/*.tar"), FORM, most=2)
    first = readers[0]
    assert readers[1] is not first
    assert readers[0] is first
    assert len(readers[2]) == 48
    assert readers[0] is first
    readers.close()

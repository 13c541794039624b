"""Reading ahead: each record in its own slot, batches that are ready first, and never a wait for one that is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fcs.core.errors import Interrupted
from fcs.core.records import Record
from fcs.engine.read_ahead import ReadAhead
from fcs.shards.input.decode import Format
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.ledger.batch_task import BatchTask

FORM = Format(1, 16, 16, needs_mask=True)


def batches(shard: Path, work: list[BatchTask], workers: int) -> ReadAhead:
    return ReadAhead(iter(work), OpenShards(resolve(str(shard)), FORM), batch_size=8, workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_record_is_in_its_own_slot(digits_shard: Path, workers: int) -> None:
    work = [BatchTask(0, 0, tuple(range(8))), BatchTask(0, 2, (17, 20)), BatchTask(0, 5, tuple(range(40, 48)))]
    ahead = batches(digits_shard, work, workers)
    found = sorted((batch for batch in ahead if batch.shard), key=lambda batch: batch.number)
    ahead.shards.close()
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

    ahead = ReadAhead(work(), OpenShards(resolve(str(digits_shard)), FORM), 8, workers=2)
    reading = iter(ahead)
    next(reading)
    assert len(taken) == 3
    reading.close()  # type: ignore[attr-defined]
    ahead.shards.close()


def test_a_batch_without_records_comes_where_none_is_ready(digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the last batch can run it then. Once only: what comes after it is waited for."""
    decoded = threading.Event()

    def record(reader: ShardReader, number: int, real: Callable[..., Record] = ShardReader.record) -> Record:
        if number == 8:
            decoded.wait()
        return real(reader, number)

    monkeypatch.setattr(ShardReader, "record", record)
    ahead = batches(digits_shard, [BatchTask(0, 1, (8,)), BatchTask(0, 0, (0,))], workers=2)
    reading = iter(ahead)
    assert next(reading).records[0] is not None  # the second is ready first
    assert next(reading).records == (None,) * 8
    decoded.set()
    assert [batch.number for batch in reading] == [1]
    ahead.shards.close()


def test_waiting_for_shards_is_checked(digits_shard: Path) -> None:
    """A run that is to stop does not wait until a shard is open."""

    def work() -> Iterator[BatchTask | None]:
        while True:
            yield None

    def stop() -> None:
        raise Interrupted("stop")

    ahead = ReadAhead(work(), OpenShards(resolve(str(digits_shard)), FORM), 8, workers=2, check=stop)
    with pytest.raises(Interrupted):
        next(iter(ahead))
    ahead.shards.close()


def test_an_error_in_a_thread_is_raised(digits_shard: Path) -> None:
    ahead = batches(digits_shard, [BatchTask(0, 0, (0,)), BatchTask(7, 0, (0,))], workers=2)
    with pytest.raises(IndexError):
        list(ahead)
    ahead.shards.close()

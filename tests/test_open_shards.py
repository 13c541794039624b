"""Open shards: nobody waits for a copy but who needs that shard, and nothing is closed under a reader."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import pytest

from fcs.core.errors import StorageError
from fcs.core.records import ReadBatch
from fcs.engine.read_ahead import ReadAhead
from fcs.shards.input.decode import Format
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.sources import resolve
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore

FORM = Format(1, 16, 16, needs_mask=True)
ROWS = 48  # of the digits' shard


class SlowStore:
    """Where compressed shards lie: reading one waits until it is let go.

    Attributes:
        opened: how often each shard was opened, by the name of its file.
    """

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()
        self.asked: dict[str, threading.Event] = {}
        self.held: dict[str, threading.Event] = {}
        self._open = fsspec.open

    def hold(self, name: str) -> None:
        self.asked[name], self.held[name] = threading.Event(), threading.Event()

    def open(self, url: str, *args: Any, **options: Any) -> Any:
        name = url.rpartition("/")[2]
        self.opened[name] += 1
        if name in self.held:
            self.asked[name].set()
            self.held[name].wait()
        return self._open(url, *args, **options)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStore]:
    slow = SlowStore()
    monkeypatch.setattr("fcs.shards.input.shard_reader.fsspec.open", slow.open)
    yield slow
    for event in slow.held.values():
        event.set()


@pytest.fixture
def folder(tmp_path: Path, digits_shard: Path) -> Path:
    """Compressed shards a to e."""
    for name in "abcde":
        (tmp_path / f"{name}.tar.gz").write_bytes(gzip.compress(digits_shard.read_bytes(), 1))
    return tmp_path


@pytest.fixture
def shards(folder: Path, store: SlowStore) -> Iterator[OpenShards]:
    opened = OpenShards(resolve(f"{folder}/*.tar.gz"), FORM, most=2)
    yield opened
    for event in store.held.values():
        event.set()
    opened.close()


def test_an_open_shard_does_not_wait_for_another_ones_copy(shards: OpenShards, store: SlowStore) -> None:
    with shards.reading(0):
        pass
    store.hold("b.tar.gz")
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(lambda: shards.reading(1).__enter__())
        store.asked["b.tar.gz"].wait()
        with shards.reading(0) as reader:  # would not come back while one lock covered all shards
            assert reader.record(0).error is None
        assert shards.rows(0) == ROWS
        with shards.reading(2) as reader:  # nor would one that must be copied itself
            assert reader.record(0).error is None
        assert not copying.done()
        store.held["b.tar.gz"].set()
        assert len(copying.result()) == ROWS


def test_a_shard_is_copied_once_however_many_ask(shards: OpenShards, store: SlowStore) -> None:
    store.hold("a.tar.gz")
    start = threading.Barrier(5)

    def read() -> int:
        start.wait()
        with shards.reading(0) as reader:
            return len(reader)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        assert shards.rows(0) is None
        start.wait()
        store.asked["a.tar.gz"].wait()
        store.held["a.tar.gz"].set()
        assert [reader.result() for reader in readers] == [ROWS] * 4
    assert store.opened == {"a.tar.gz": 1}


def test_the_shard_used_longest_ago_is_closed(shards: OpenShards, store: SlowStore) -> None:
    for number in (0, 1, 0, 2, 0):
        with shards.reading(number):
            pass
    assert store.opened == {"a.tar.gz": 1, "b.tar.gz": 1, "c.tar.gz": 1}
    with shards.reading(1):
        pass
    assert store.opened["b.tar.gz"] == 2


def test_a_shard_in_use_is_never_closed(shards: OpenShards) -> None:
    with shards.reading(0) as first:
        for number in (1, 2, 3, 4):
            with shards.reading(number):
                pass
        assert first.record(ROWS - 1).error is None
    with shards.reading(1), shards.reading(2), shards.reading(3):
        pass
    with pytest.raises(ValueError, match="closed file"):
        first.record(0)


def test_rows_are_told_when_a_shard_is_open(shards: OpenShards, store: SlowStore) -> None:
    store.hold("a.tar.gz")
    assert shards.rows(0) is None
    assert shards.rows(0) is None
    assert len(shards.opening()) == 1
    store.held["a.tar.gz"].set()
    while shards.rows(0) is None:
        shards.wait()
    assert (shards.rows(0), shards.opening()) == (ROWS, [])
    assert store.opened == {"a.tar.gz": 1}


def test_a_shard_that_cannot_be_opened_is_said(shards: OpenShards, folder: Path) -> None:
    (folder / "a.tar.gz").unlink()
    with pytest.raises(StorageError, match=r"a\.tar\.gz"), shards.reading(0):
        pass
    assert shards.rows(0) is None
    wait(shards.opening())
    with pytest.raises(StorageError, match=r"a\.tar\.gz"):
        shards.rows(0)


def test_closing_gives_up_what_is_being_copied(shards: OpenShards, store: SlowStore) -> None:
    store.hold("a.tar.gz")
    assert shards.rows(0) is None
    (opening,) = shards.opening()
    store.asked["a.tar.gz"].wait()

    def let_go() -> None:
        shards._closing.wait()
        store.held["a.tar.gz"].set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(let_go)
        shards.close()
    with pytest.raises(CancelledError):
        opening.result()


# With a ledger, as a run does it


class Pipeline:
    """A ledger and what reads ahead of it; finishes each batch as soon as it is asked for the next, as Lightning."""

    def __init__(self, folder: Path, most: int = 4, workers: int = 2, size: int = 16) -> None:
        self.sources = resolve(f"{folder}/*.tar.gz")
        self.out = LocalStore(folder / "out")
        pin(self.out, describe({}, self.sources, None))
        self.shards = OpenShards(self.sources, FORM, most)
        self.ledger = Ledger(self.out, self.sources, size, self.shards.rows)
        self.ahead = ReadAhead(self.ledger.tasks(), self.shards, size, workers)
        self.numbers = {source.stem: number for number, source in enumerate(self.sources)}
        self.sampled: list[tuple[str, int]] = []

    def run(self, seen: Callable[[ReadBatch], None] = lambda batch: None) -> None:
        held: ReadBatch | None = None
        for batch in self.ahead:
            self._sample(held)
            held = batch
            seen(batch)
        self._sample(held)

    def _sample(self, batch: ReadBatch | None) -> None:
        rows = [Row(record.index, record.key) for record in batch.records if record] if batch else []
        if batch is not None and rows:
            self.ledger.finish(self.numbers[batch.shard], batch.number, rows)
            self.sampled.append((batch.shard, batch.number))

    def close(self) -> None:
        self.ledger.close()
        self.shards.close()


def test_sampling_goes_on_while_a_shard_is_copied(folder: Path, store: SlowStore) -> None:
    """All of the other shards are sampled before the one whose copy takes long is let go."""
    store.hold("b.tar.gz")
    with closing(Pipeline(folder)) as pipeline:

        def seen(batch: ReadBatch) -> None:
            if len(pipeline.sampled) == 4 * 3:
                store.held["b.tar.gz"].set()

        pipeline.run(seen)
        assert pipeline.ledger.complete()
    assert {shard for shard, _ in pipeline.sampled[:12]} == {"a", "c", "d", "e"}
    assert [shard for shard, _ in pipeline.sampled[12:]] == ["b"] * 3
    assert {store.opened[f"{name}.tar.gz"] for name in "abcde"} == {1}


def test_the_next_shard_is_opened_while_one_is_sampled(folder: Path, store: SlowStore) -> None:
    store.hold("b.tar.gz")
    with closing(Pipeline(folder)) as pipeline:
        next(iter(pipeline.ahead))
        store.asked["b.tar.gz"].wait()  # nothing of it was needed yet
        store.held["b.tar.gz"].set()


@pytest.mark.parametrize("listed", [0, 1, ROWS, 1000])
def test_the_size_of_a_shard_is_what_it_holds(folder: Path, listed: int) -> None:
    """Whatever sizes.json says of it."""
    (folder / "sizes.json").write_text(json.dumps({f"{name}.tar.gz": listed for name in "abcde"}))
    with closing(Pipeline(folder)) as pipeline:
        pipeline.run()
        assert pipeline.ledger.complete()
        assert pipeline.ledger.totals() == (5 * ROWS, 0, 5 * ROWS)


def test_a_shard_in_other_hands_is_not_opened_where_its_size_is_listed(folder: Path, store: SlowStore) -> None:
    (folder / "sizes.json").write_text(json.dumps({"a.tar.gz": ROWS, "b.tar.gz": ROWS}))
    with closing(Pipeline(folder)) as one, closing(Pipeline(folder)) as two:
        first = one.ledger.tasks()
        tasks: list[BatchTask] = []
        while len(tasks) < 2 * 3:
            task = next(first)
            tasks += [task] if task else []
            one.shards.wait()
        assert {task.source for task in tasks} == {0, 1}
        store.opened.clear()
        next(iter(two.ahead))
        assert "c.tar.gz" in store.opened
        assert not {"a.tar.gz", "b.tar.gz"} & store.opened.keys()

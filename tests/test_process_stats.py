"""A process's counts hold every batch that was finished, whichever threads finished them and in which order."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from fcs.core.errors import StorageError
from fcs.core.intervals import Column
from fcs.shards.ledger.claims import identity
from fcs.shards.ledger.process_stats import ProcessStats
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore

BATCH = [Row(0, "a", residual=1.0), Row(1, "b", residual=3.0), Row(2, "c", "bad_image: x")]


class Pausing(LocalStore):
    """A store whose first write to a name waits until it is told to go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entered, self.go_on = threading.Event(), threading.Event()

    def replace(self, name: str, data: bytes) -> None:
        if not self.entered.is_set():
            self.entered.set()
            self.go_on.wait()
        super().replace(name, data)


class Failing(LocalStore):
    """A store whose first write fails."""

    failed = False

    def replace(self, name: str, data: bytes) -> None:
        if not self.failed:
            self.failed = True
            raise StorageError(f"{name}: disk full")
        super().replace(name, data)


class PausingColumn(Column):
    """Sums whose first addition waits until it is told to go on, between reading the old sum and storing the new."""

    entered, go_on = threading.Event(), threading.Event()

    def __add__(self, other: Column) -> Column:
        if not self.entered.is_set():
            self.entered.set()
            self.go_on.wait()
        return super().__add__(other)


def stats(out: LocalStore) -> ProcessStats:
    return ProcessStats(out, {**identity(), "id": "0"})


def written(one: ProcessStats) -> dict[str, object]:
    state = json.loads(one.out.read(one.path))
    return {name: state[name] for name in ("done", "failed", "scores")}


def test_an_older_state_never_overwrites_a_newer_one(tmp_path: Path) -> None:
    """A second thread finishes a batch while the first is held up in its write."""
    out = Pausing(tmp_path)
    one = stats(out)
    first = threading.Thread(target=one.count, args=(BATCH,))
    first.start()
    out.entered.wait()
    one.count(BATCH)  # does not wait for the first
    out.go_on.set()
    first.join()
    assert written(one) == {"done": 4, "failed": 2, "scores": {"residual": {"mean": 2.0, "n": 4}}}


def test_no_batch_is_lost_from_the_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread adds a batch while the first is held up in the middle of its addition."""
    monkeypatch.setattr("fcs.shards.ledger.process_stats.Column", PausingColumn)
    one = stats(LocalStore(tmp_path))
    first, second = (threading.Thread(target=one.count, args=(BATCH,)) for _ in range(2))
    first.start()
    PausingColumn.entered.wait()
    second.start()
    second.join(0.2)  # time for a count without a lock to slip in; a right one is waiting now
    PausingColumn.go_on.set()
    first.join()
    second.join()
    assert written(one) == {"done": 4, "failed": 2, "scores": {"residual": {"mean": 2.0, "n": 4}}}


def test_a_write_that_fails_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    one = stats(Failing(tmp_path))
    with pytest.raises(StorageError, match="disk full"):
        one.count(BATCH)
    one.count(BATCH)
    assert written(one)["done"] == 4

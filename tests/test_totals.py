"""How far a run is: limits, records done, and results that are gone or damaged."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.ledgers import COUNTS, SOURCES, do, finish, ledger, outputs

from fcs.core.errors import StorageError
from fcs.shards.ledger.commit_list import list_commits, nothing_left, retract_damaged
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, fingerprint, pin
from fcs.shards.ledger.summary import failed_records, summarize
from fcs.shards.store.local import LocalStore


@pytest.mark.parametrize(("limit", "held"), [(1, [1]), (7, [7]), (8, [7, 0, 1]), (28, [7, 0, 21]), (99, [7, 0, 21, 4])])
def test_limit(tmp_path: Path, limit: int, held: list[int]) -> None:
    for rank in range(2):
        with closing(ledger(tmp_path, limit=limit, rank=rank, world=2)) as book:
            assert book.record_counts() == held
            for item in book.tasks():
                do(book, item)
            assert book.complete()
            totals = book.totals()
            assert totals.ok + totals.failed == sum(held)
            assert totals.total == sum(held)
    records = [read_commit(LocalStore(tmp_path), source.stem) for source in SOURCES]
    assert [record["counts"]["records"] for record in records if record] == held
    assert json.loads((tmp_path / "summary.json").read_text())["complete"]


def test_limit_opens_no_shard_beyond(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), describe({}, SOURCES, 5))
    opened: list[int] = []
    with closing(Ledger(LocalStore(tmp_path), SOURCES, 2, lambda i: opened.append(i) or COUNTS[i], limit=5)) as book:  # type: ignore[func-returns-value]
        for item in book.tasks():
            do(book, item)
    assert opened == [0]


def test_totals_of_a_running_run(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        assert book.totals() == (0, 0, None)
        items = book.tasks()
        for _ in range(3):
            do(book, next(items))
        assert book.totals() == (5, 1, None)
        book.record_counts()
        assert book.totals() == (5, 1, 32)


def test_results_that_are_gone_are_computed_again(
    whole_run: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finish(tmp_path)
    (tmp_path / "shards/a.tar").write_bytes(b"")
    monkeypatch.setattr("fcs.shards.ledger.commit_list.SETTLED", -1.0)
    with closing(ledger(tmp_path)) as book:
        for item in book.tasks():
            assert item.source == 0
            do(book, item)
    assert "computing it again" in caplog.text
    assert outputs(tmp_path) == whole_run


@pytest.mark.parametrize("name", ["shards/a.tar", "metrics/a.parquet"])
@pytest.mark.parametrize("settled", [-1.0, 600.0], ids=["long ago", "just now"])
def test_files_that_are_gone_are_made_again(
    whole_run: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settled: float
) -> None:
    monkeypatch.setattr("fcs.shards.ledger.commit_list.SETTLED", settled)
    finish(tmp_path)
    stems = [source.stem for source in SOURCES]
    assert nothing_left(LocalStore(tmp_path), stems, fingerprint({}))
    (tmp_path / name).unlink()
    assert not nothing_left(LocalStore(tmp_path), stems, fingerprint({}))
    with closing(ledger(tmp_path)) as book:
        for item in book.tasks():
            assert item.source == 0
            do(book, item)
    assert outputs(tmp_path) == whole_run


def test_what_was_just_committed_may_be_missing_from_a_listing(tmp_path: Path) -> None:
    finish(tmp_path)
    store = LocalStore(tmp_path)
    found = list_commits(store, [source.stem for source in SOURCES], fingerprint({}))
    late = replace(found, listed={name: stat for name, stat in found.listed.items() if not name.endswith(".tar")})
    assert retract_damaged(store, late) == set(found.stems)


@pytest.mark.parametrize("text", ["", "{", "{}"])
@pytest.mark.parametrize("limit", [None, 28])
def test_a_damaged_commit_record_is_made_again(tmp_path: Path, text: str, limit: int | None) -> None:
    finish(tmp_path, limit=limit)
    whole = outputs(tmp_path)
    (tmp_path / "shards" / "b" / "c.json").write_text(text)
    done = set()
    with closing(ledger(tmp_path, limit=limit)) as book:
        for item in book.tasks():
            done.add(item.source)
            do(book, item)
    assert done == {2}
    assert outputs(tmp_path) == whole


def test_rows_that_are_gone_are_storage(tmp_path: Path) -> None:
    finish(tmp_path)
    path = tmp_path / "metrics" / "a.parquet"
    path.write_bytes(b"x")
    with pytest.raises(StorageError, match=r"a\.parquet"):
        summarize(LocalStore(tmp_path))
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.parquet"):
        failed_records(LocalStore(tmp_path), 5)


def test_failures_elsewhere(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as before:
        do(before, next(before.tasks()), fail=lambda index: True)
    with closing(ledger(tmp_path)) as one, closing(ledger(tmp_path)) as two:
        assert two.failed_elsewhere() == 0
        do(one, next(one.tasks()), fail=lambda index: True)
        assert (one.failed_elsewhere(), two.failed_elsewhere()) == (0, 2)

"""The ledger: each record once, the same bytes, whoever shares the run and in whichever batches."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest
from helpers.ledgers import COUNTS, do, finish, interleaved, ledger, outputs, row

from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.store.local import LocalStore


def test_a_run(whole_run: dict[str, bytes], tmp_path: Path) -> None:
    done = finish(tmp_path)
    assert {(w.source, i) for w in done for i in w.wanted} == {(s, i) for s, n in enumerate(COUNTS) for i in range(n)}
    assert len(done) == 4 + 11 + 2
    assert all(i // 2 == w.batch for w in done for i in w.wanted)
    assert outputs(tmp_path) == whole_run
    summary = json.loads(whole_run["summary.json"])
    assert summary["complete"]
    assert summary["records"] == {"ok": 27, "failed": 5}
    assert summary["metrics"]["psnr"]["n"] == 27
    (worker,) = (tmp_path / "workers").iterdir()
    state = json.loads(worker.read_text())
    assert (state["done"], state["failed"], state["pid"]) == (27, 5, os.getpid())


def test_a_complete_run_does_nothing(tmp_path: Path) -> None:
    finish(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with closing(ledger(tmp_path)) as book:
        assert book.complete()
        assert list(book.tasks()) == []
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_batch_size_and_order_make_no_difference(whole_run: dict[str, bytes], tmp_path: Path, size: int) -> None:
    with closing(ledger(tmp_path, size)) as book:
        items = list(book.tasks())
        assert list(book.tasks()) == []  # this process holds all
        for item in reversed(items):
            do(book, item)
        assert not list(book.tasks())
    assert outputs(tmp_path) == whole_run


def test_two_that_share_a_run(whole_run: dict[str, bytes], tmp_path: Path) -> None:
    books = [ledger(tmp_path, rank=rank, world=2) for rank in range(2)]
    done = interleaved(books)
    assert len({item for _, item in done}) == len(done) == 17  # nothing twice
    assert {turn for turn, _ in done} == {0, 1}
    assert done[0][1].source == 0
    assert next(item for turn, item in done if turn == 1).source == 2  # its own offset
    assert outputs(tmp_path) == whole_run
    assert len(list((tmp_path / "workers").iterdir())) == 2


def test_one_shard_feeds_all(tmp_path: Path) -> None:
    books = [ledger(tmp_path, 1, (0, 0, 40, 0)) for _ in range(3)]
    first = [next(book.tasks()) for book in books]
    assert [item.batch for item in first] == [0, 8, 16]
    for book in books:
        book.close()


def test_a_writer_thread(whole_run: dict[str, bytes], tmp_path: Path) -> None:
    """What another thread of the process has not written yet is not yielded again, and is not waited for."""
    import queue

    todo: queue.Queue[BatchTask | None] = queue.Queue()
    with closing(ledger(tmp_path)) as book:
        given = []

        def write() -> None:
            while (item := todo.get()) is not None:
                do(book, item)

        for item in book.tasks():
            given.append(item)
            todo.put(item)
        assert not book.idle
        assert list(book.tasks()) == []
        thread = threading.Thread(target=write)
        thread.start()
        todo.put(None)
        thread.join()
        assert book.idle
        assert book.complete()
        assert len(set(given)) == len(given) == 17
    assert outputs(tmp_path) == whole_run


def test_close_ends_work(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    items = book.tasks()
    next(items)
    book.close()
    assert list(items) == list(book.tasks()) == []
    assert not [p for p in (tmp_path / "claims").rglob("*") if p.is_file()]


def test_what_is_abandoned_comes_again(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        items = list(book.tasks())
        for item in items[1:]:
            do(book, item)
        assert list(book.tasks()) == []
        book.release(items[0].source, items[0].batch)
        (again,) = book.tasks()
        assert again == items[0]


def test_a_batch_of_another_batch_size_yields_what_is_missing(tmp_path: Path) -> None:
    with closing(ledger(tmp_path, 3)) as book:
        items = book.tasks()
        do(book, next(items))
    with closing(ledger(tmp_path, 4)) as book:
        items = book.tasks()
        assert [next(items) for _ in range(2)] == [BatchTask(0, 0, (3,)), BatchTask(0, 1, (4, 5, 6))]


def test_a_shard_that_is_committed_meanwhile_is_left_alone(
    whole_run: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the parts and the claim another process finishes everything."""
    with closing(ledger(tmp_path)) as book:
        take = book.claims.acquire

        def late(stem: str, name: str) -> bool:
            monkeypatch.undo()
            finish(tmp_path)
            return take(stem, name)

        monkeypatch.setattr(book.claims, "acquire", late)
        assert list(book.tasks()) == []
    assert outputs(tmp_path) == whole_run
    assert not (tmp_path / "claims").exists()


def test_rows_around_a_part_are_written_in_pieces(tmp_path: Path) -> None:
    with closing(ledger(tmp_path, 8)) as book:
        item = next(iter(book.tasks()))
        parts.write(LocalStore(tmp_path), "a", result_rows.table([row(0, 3)], "a", ["psnr"]))
        do(book, item)
        assert read_commit(LocalStore(tmp_path), "a")
    with closing(ledger(tmp_path / "2", 8)) as book:
        parts.write(LocalStore(tmp_path / "2"), "a", result_rows.table([row(0, 3)], "a", ["psnr"]))
        item = next(iter(book.tasks()))
        assert item.wanted == (0, 1, 2, 4, 5, 6)
        book.sizes.known[0] = 8  # so that the shard is not committed and its parts stay
        do(book, item)
        assert parts.names(LocalStore(tmp_path / "2"), "a") == [
            "00000000-00000002",
            "00000003-00000003",
            "00000004-00000006",
        ]


def test_foreign_rows_are_refused(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        next(iter(book.tasks()))
        with pytest.raises(ValueError, match="records 0 to 1"):
            book.finish(0, 0, [row(0, 2)])

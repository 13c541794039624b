"""The ledger: each record once, the same bytes, whatever is cut when and whoever shares the run."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from helpers.ledgers import (
    COUNTS,
    SOURCES,
    bury,
    cutting,
    do,
    finish,
    interleaved,
    ledger,
    none,
    outputs,
    row,
    small,
    some,
)

from fcs.core.errors import StorageError
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import STALE, Claims, identity
from fcs.shards.ledger.commit_records import committed
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.ledger.summary import failures, summarize
from fcs.shards.store.local import LocalStore


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    """What is written survives a process without fsync too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    finish(out)
    assert sorted(os.listdir(out)) == ["metrics", "run.json", "shards", "summary.json", "workers"]
    return outputs(out)


def test_a_run(expected: dict[str, bytes], tmp_path: Path) -> None:
    done = finish(tmp_path)
    assert {(w.source, i) for w in done for i in w.wanted} == {(s, i) for s, n in enumerate(COUNTS) for i in range(n)}
    assert len(done) == 4 + 11 + 2
    assert all(i // 2 == w.batch for w in done for i in w.wanted)
    assert outputs(tmp_path) == expected
    summary = json.loads(expected["summary.json"])
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
        assert list(book.work()) == []
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_batch_size_and_order_make_no_difference(expected: dict[str, bytes], tmp_path: Path, size: int) -> None:
    with closing(ledger(tmp_path, size)) as book:
        items = list(book.work())
        assert list(book.work()) == []  # all in hand
        for item in reversed(items):
            do(book, item)
        assert not list(book.work())
    assert outputs(tmp_path) == expected


def test_two_that_share_a_run(expected: dict[str, bytes], tmp_path: Path) -> None:
    books = [ledger(tmp_path, rank=rank, world=2) for rank in range(2)]
    done = interleaved(books)
    assert len({item for _, item in done}) == len(done) == 17  # nothing twice
    assert {turn for turn, _ in done} == {0, 1}
    assert done[0][1].source == 0
    assert next(item for turn, item in done if turn == 1).source == 2  # its own offset
    assert outputs(tmp_path) == expected
    assert len(list((tmp_path / "workers").iterdir())) == 2


def test_one_shard_feeds_all(tmp_path: Path) -> None:
    books = [ledger(tmp_path, 1, (0, 0, 40, 0)) for _ in range(3)]
    first = [next(book.work()) for book in books]
    assert [item.batch for item in first] == [0, 8, 16]
    for book in books:
        book.close()


def test_a_writer_thread(expected: dict[str, bytes], tmp_path: Path) -> None:
    """What another thread of the process has not written yet is not given out again, and is not waited for."""
    import queue

    todo: queue.Queue[BatchTask | None] = queue.Queue()
    with closing(ledger(tmp_path)) as book:
        given = []

        def write() -> None:
            while (item := todo.get()) is not None:
                do(book, item)

        for item in book.work():
            given.append(item)
            todo.put(item)
        assert not book.idle
        assert list(book.work()) == []
        thread = threading.Thread(target=write)
        thread.start()
        todo.put(None)
        thread.join()
        assert book.idle
        assert book.complete()
        assert len(set(given)) == len(given) == 17
    assert outputs(tmp_path) == expected


def test_close_ends_work(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    items = book.work()
    next(items)
    book.close()
    assert list(items) == list(book.work()) == []
    assert not [p for p in (tmp_path / "claims").rglob("*") if p.is_file()]


def test_what_is_abandoned_comes_again(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        items = list(book.work())
        for item in items[1:]:
            do(book, item)
        assert list(book.work()) == []
        book.abandon(items[0].source, items[0].batch)
        (again,) = book.work()
        assert again == items[0]


def test_a_batch_of_another_batch_size_yields_what_is_missing(tmp_path: Path) -> None:
    with closing(ledger(tmp_path, 3)) as book:
        items = book.work()
        do(book, next(items))
    with closing(ledger(tmp_path, 4)) as book:
        items = book.work()
        assert [next(items) for _ in range(2)] == [BatchTask(0, 0, (3,)), BatchTask(0, 1, (4, 5, 6))]


def test_a_shard_that_is_committed_meanwhile_is_left_alone(
    expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at the parts and the claim another process finishes everything."""
    with closing(ledger(tmp_path)) as book:
        take = book.claims.take

        def late(stem: str, name: str) -> bool:
            monkeypatch.undo()
            finish(tmp_path)
            return take(stem, name)

        monkeypatch.setattr(book.claims, "take", late)
        assert list(book.work()) == []
    assert outputs(tmp_path) == expected
    assert not (tmp_path / "claims").exists()


def test_rows_around_a_part_are_written_in_pieces(tmp_path: Path) -> None:
    with closing(ledger(tmp_path, 8)) as book:
        item = next(iter(book.work()))
        parts.write(LocalStore(tmp_path), "a", parts.table([row(0, 3)], "a", ["psnr"]))
        do(book, item)
        assert committed(LocalStore(tmp_path), "a")
    with closing(ledger(tmp_path / "2", 8)) as book:
        parts.write(LocalStore(tmp_path / "2"), "a", parts.table([row(0, 3)], "a", ["psnr"]))
        item = next(iter(book.work()))
        assert item.wanted == (0, 1, 2, 4, 5, 6)
        book.counts.known[0] = 8  # so that the parts stay to be looked at
        do(book, item)
        assert parts.names(LocalStore(tmp_path / "2"), "a") == [
            "00000000-00000002",
            "00000003-00000003",
            "00000004-00000006",
        ]


def test_foreign_rows_are_refused(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        next(iter(book.work()))
        with pytest.raises(ValueError, match="records 0 to 1"):
            book.finish(0, 0, [row(0, 2)])


# Cut anywhere


class Cut(BaseException):
    """As if the process were killed: no file operation of its handlers is done any more."""


def cut_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Fail from that file operation on; the state before one is the state after the one before it."""
    seen: list[str] = []

    def patched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            seen.append(name)
            if len(seen) >= number:
                raise Cut(name)
            return real(*args, **options)

        return call

    for name in ("link", "replace", "rename", "unlink", "rmdir"):
        patch.setattr(os, name, patched(name, getattr(os, name)))
    return seen


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    pin(LocalStore(tmp_path / "begun"), describe({}, SOURCES[:3], None))
    return tmp_path / "begun"


def nothing_left(out: Path) -> None:
    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert left == {"metrics", "run.json", "shards", "summary.json", "workers"}
    assert not [path for name in ("metrics", "shards") for path in (out / name).rglob("*.tmp")]


@cutting
def test_cut_at_each_file_operation(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(begun, tmp_path / "whole")
    assert small(tmp_path / "whole", some) == 5
    whole = outputs(tmp_path / "whole")
    for number in itertools.count(1):
        out = tmp_path / str(number)
        shutil.copytree(begun, out)
        with monkeypatch.context() as patch, suppress(Cut):
            seen = cut_at(patch, number)
            small(out, some)
        if len(seen) < number:
            break
        bury(out)
        small(out, some)
        assert outputs(out) == whole, (number, seen[-1])
        nothing_left(out)
    assert number > 40


@cutting
def test_retry_cut_at_each_file_operation(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(begun, some)
    whole: dict[str, bytes] = {}
    for number in itertools.count(1):
        out = tmp_path / str(number)
        shutil.copytree(begun, out)
        with monkeypatch.context() as patch, suppress(Cut):
            seen = cut_at(patch, number)
            retry_failed(LocalStore(out))
            small(out, none)
        bury(out)
        retry_failed(LocalStore(out))
        assert small(out, none) <= 3, number  # what was good is never computed again
        whole = whole or outputs(out)
        assert outputs(out) == whole, (number, seen[-1])
        nothing_left(out)
        if len(seen) < number:
            break
    records = [committed(LocalStore(out), source.stem) for source in SOURCES[:3]]
    assert [r and r["counts"]["failed"] for r in records] == [0, 0, 0]
    assert [r and r["attempt"] for r in records] == [2, 1, 2]
    assert number > 40


def test_a_full_disk_is_storage_and_can_be_continued(
    expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    real = os.link

    def full(source: object, target: object) -> None:
        if next(calls) >= 9:
            raise OSError(28, "No space left on device")
        real(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        with pytest.raises(StorageError, match="No space left"):
            finish(tmp_path)
    finish(tmp_path)
    assert outputs(tmp_path) == expected


def test_a_killed_process(expected: dict[str, bytes], tmp_path: Path) -> None:
    """The real thing: SIGKILL after some batches, the next run takes over at once."""
    code = f"""
import os, signal
from pathlib import Path
from helpers.ledgers import do, ledger
book = ledger(Path({str(tmp_path)!r}))
for number, item in enumerate(book.work()):
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    do(book, item)
"""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=paths, check=False).returncode == -9
    assert len(finish(tmp_path)) == 17 - 9
    assert outputs(tmp_path) == expected


# Limits and counts


@pytest.mark.parametrize(("limit", "held"), [(1, [1]), (7, [7]), (8, [7, 0, 1]), (28, [7, 0, 21]), (99, [7, 0, 21, 4])])
def test_limit(tmp_path: Path, limit: int, held: list[int]) -> None:
    for rank in range(2):
        with closing(ledger(tmp_path, limit=limit, rank=rank, world=2)) as book:
            assert book.prepare() == held
            for item in book.work():
                do(book, item)
            assert book.complete()
            totals = book.totals()
            assert totals.ok + totals.failed == sum(held)
            assert totals.total == sum(held)
    records = [committed(LocalStore(tmp_path), source.stem) for source in SOURCES]
    assert [record["counts"]["records"] for record in records if record] == held
    assert json.loads((tmp_path / "summary.json").read_text())["complete"]


def test_limit_opens_no_shard_beyond(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), describe({}, SOURCES, 5))
    opened: list[int] = []
    with closing(Ledger(LocalStore(tmp_path), SOURCES, 2, lambda i: opened.append(i) or COUNTS[i], limit=5)) as book:  # type: ignore[func-returns-value]
        for item in book.work():
            do(book, item)
    assert opened == [0]


def test_totals_of_a_running_run(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as book:
        assert book.totals() == (0, 0, None)
        items = book.work()
        for _ in range(3):
            do(book, next(items))
        assert book.totals() == (5, 1, None)
        book.prepare()
        assert book.totals() == (5, 1, 32)


def test_results_that_are_gone_are_computed_again(
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finish(tmp_path)
    (tmp_path / "shards/a.tar").write_bytes(b"")
    monkeypatch.setattr("fcs.shards.ledger.inspection.SETTLED", -1.0)
    with closing(ledger(tmp_path)) as book:
        for item in book.work():
            assert item.source == 0
            do(book, item)
    assert "computing it again" in caplog.text
    assert outputs(tmp_path) == expected


# Claims


@pytest.mark.parametrize("text", ["", "{", "{}"])
@pytest.mark.parametrize("limit", [None, 28])
def test_a_damaged_commit_record_is_made_again(tmp_path: Path, text: str, limit: int | None) -> None:
    finish(tmp_path, limit=limit)
    whole = outputs(tmp_path)
    (tmp_path / "shards" / "b" / "c.json").write_text(text)
    done = set()
    with closing(ledger(tmp_path, limit=limit)) as book:
        for item in book.work():
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
        failures(LocalStore(tmp_path), 5)


def test_failures_elsewhere(tmp_path: Path) -> None:
    with closing(ledger(tmp_path)) as before:
        do(before, next(before.work()), fail=lambda index: True)
    with closing(ledger(tmp_path)) as one, closing(ledger(tmp_path)) as two:
        assert two.failed_elsewhere() == 0
        do(one, next(one.work()), fail=lambda index: True)
        assert (one.failed_elsewhere(), two.failed_elsewhere()) == (0, 2)


def claim(out: Path, **owner: object) -> Path:
    path = out / "claims/s/000000"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**identity(), "id": "other", **owner}))
    return path


@contextmanager
def claims(out: Path, **options: float) -> Iterator[Claims]:
    mine = Claims(LocalStore(out), **options)
    try:
        yield mine
    finally:
        mine.close()


def test_a_claim_has_one_owner(tmp_path: Path) -> None:
    with claims(tmp_path) as one, claims(tmp_path) as two:
        assert one.take("s", "000000")
        assert not two.take("s", "000000")
        assert not one.take("s", "000000")
        two.release("s", "000000")
        assert not two.take("s", "000000")
        one.release("s", "000000")
        assert two.take("s", "000000")


def test_a_dead_process_loses_its_claims_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    with claims(tmp_path) as mine:
        claim(tmp_path, pid=os.getppid())
        assert not mine.take("s", "000000")
        while gone.poll() is None:
            time.sleep(0.01)
        claim(tmp_path, pid=gone.pid, host="elsewhere")
        assert not mine.take("s", "000000")
        claim(tmp_path, pid=gone.pid)
        assert mine.take("s", "000000")


def test_an_unreaped_process_is_dead(tmp_path: Path) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.3)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    claim(tmp_path, pid=zombie.pid)
    with claims(tmp_path) as mine:
        assert mine.take("s", "000000")
    zombie.wait()


def test_a_restarted_job_takes_its_claims_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with claims(tmp_path) as mine:
        for owner in ({"job": "17", "restart": 1}, {"job": "18", "restart": 0}):
            claim(tmp_path, host="elsewhere", **owner)
            assert not mine.take("s", "000000")
        claim(tmp_path, host="elsewhere", job="17", restart=0)
        assert mine.take("s", "000000")


def test_silence_makes_a_claim_stale_and_heartbeats_keep_it(tmp_path: Path) -> None:
    path = claim(tmp_path, host="elsewhere")
    with claims(tmp_path, stale=60.0) as mine:
        os.utime(path, (time.time() - 50,) * 2)
        assert not mine.take("s", "000000")
        os.utime(path, (time.time() - 70,) * 2)
        assert mine.take("s", "000000")
    with claims(tmp_path, heartbeat=0.01) as mine:
        assert mine.take("s", "000000")
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    claim(tmp_path, pid=gone.pid)
    mine = [Claims(LocalStore(tmp_path)) for _ in range(8)]
    won = []
    start = threading.Barrier(8)

    def take(one: Claims) -> None:
        start.wait()
        if one.take("s", "000000"):
            won.append(one)

    threads = [threading.Thread(target=take, args=(one,)) for one in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    for one in mine:
        one.close()


def test_work_is_taken_over_from_the_silent(expected: dict[str, bytes], tmp_path: Path) -> None:
    first = ledger(tmp_path, heartbeat=1000.0)
    held = first.work()
    next(held)
    for path in (tmp_path / "claims").rglob("*"):
        os.utime(path, (time.time() - 2 * STALE,) * 2)  # and then nothing more is heard of it
    with closing(ledger(tmp_path)) as book:
        done = []
        for item in book.work():
            done.append(item)
            do(book, item)
    assert {item.source for item in done} == {0, 2, 3}
    assert outputs(tmp_path) == expected
    do(first, BatchTask(0, 0, (0, 1)))  # who comes second discards
    first.close()
    assert outputs(tmp_path) == expected
    assert not (tmp_path / "parts").exists()

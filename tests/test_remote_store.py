"""Object stores: the same promises as a folder, where nothing can be renamed and creation may not be exclusive."""

from __future__ import annotations

import errno
import itertools
import json
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers.ledgers import (
    GONE,
    ROOT,
    SOURCES,
    bury,
    cutting,
    do,
    finish,
    interleaved,
    ledger,
    none,
    nothing_left,
    outputs,
    remote,
    small,
    some,
    winners,
)
from helpers.objects import Cut, Objects

from fcs.core.errors import StorageError, UsageError
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import STALE, Claims, identity
from fcs.shards.ledger.commit import clean
from fcs.shards.ledger.commit_records import committed
from fcs.shards.ledger.layout import commit_file, parts_folder
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.retry import reopen, retry_failed
from fcs.shards.store.local import LocalStore
from fcs.shards.store.open_store import open_store
from fcs.shards.store.remote import RemoteStore
from fcs.tools.status.read_status import read_status
from fcs.tools.status.verify import verify


@pytest.fixture(params=[True, False], ids=["exclusive", "shared"])
def exclusive(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def out(exclusive: bool) -> RemoteStore:
    return remote(Objects(), exclusive)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run in a folder gives."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return outputs(folder)


# A store


def test_files(out: RemoteStore, exclusive: bool) -> None:
    assert out.create("a/b", b"0123456789")
    assert not out.create("a/b", b"other")
    assert out.create("a/b", b"0123456789") is exclusive  # ours: the client had lost the answer and asked again
    assert out.read("a/b") == b"0123456789"
    with out.reading("a/b") as file:
        assert (file.seek(-3, 2), file.read(), file.seek(2), file.read(3)) == (7, b"789", 2, b"234")
    with out.replacing("a/c/d") as file:
        file.write(b"whole")
    with suppress(RuntimeError), out.replacing("a/c/d") as file:
        file.write(b"torn")
        raise RuntimeError
    assert out.read("a/c/d") == b"whole"
    assert out.names("a") == ["b"]
    assert sorted(out.tree("a")) == ["a/b", "a/c/d"]
    assert [out.exists(name) for name in ("a", "a/b", "a/bb", "b")] == [False, True, False, False]
    assert abs(out.now("a/b") - time.time()) < 5
    assert out.move("a/b", "a/e")
    assert not out.move("a/b", "a/e")
    out.delete("a/e", "a/gone")
    assert list(out.tree("a")) == ["a/c/d"]
    with pytest.raises(FileNotFoundError):
        out.read("a/b")


def test_a_copy_that_was_read_before_will_do_until_the_listing_differs(out: RemoteStore) -> None:
    out.create("a", b"1")
    listed = out.stat("a")
    out.fs.asked.clear()
    assert {out.read("a", listed) for _ in range(3)} == {b"1"}
    assert out.fs.asked["cat_file"] == 1
    out.replace("a", b"2")
    assert out.read("a", out.stat("a")) == b"2"


def test_of_many_creators_one_wins() -> None:
    out = remote(Objects())
    assert winners(out) == [out.read("a")]


def test_errors_are_storage_and_name_the_object(out: RemoteStore) -> None:
    def lost(name: str) -> None:
        raise ConnectionError("no route")

    out.fs.after = lost
    assert out.create("a", b"1")  # it is there, whatever was said
    with pytest.raises(StorageError, match=r"^s3://bucket/run/a: no route$"):
        out.replace("a", b"2")
    for name in ("pipe_file", "find", "info", "cat_file", "rm_file"):
        setattr(out.fs, name, lambda *_, **__: (_ for _ in ()).throw(PermissionError("Access Denied")))
    for ask in (
        lambda: out.create("b", b"1"),
        lambda: out.names("b"),
        lambda: out.exists("b"),
        lambda: out.read("b"),
        lambda: out.delete("b"),
    ):
        with pytest.raises(StorageError, match=r"^s3://bucket/run/b.*: Access Denied$"):
            ask()


@pytest.mark.parametrize(
    "url",
    ["https://host/run", "nothing://run", "dropbox://its/package/is/missing", "memory://", "simplecache::s3://b/run"],
)
def test_what_cannot_be_written_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected a folder, or a prefix in a store"):
        open_store(url)


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    for spelled in (str(tmp_path), f"file://{tmp_path}"):
        found = open_store(spelled)
        assert isinstance(found, LocalStore)
        assert found.root == tmp_path


class Lax(Objects):
    """It speaks the protocol, but passes over the condition of a PUT, or says that it knows none."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        if mode == "create" and self.error is not None:
            raise self.error
        super().pipe_file(path, value)


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSYS, "not implemented")], ids=["silent", "refusing"])
def test_a_store_without_conditions_is_found_out(error: Exception | None, expected: dict[str, bytes]) -> None:
    fs = Lax(error)
    finish(remote(fs))
    out = remote(fs)
    assert outputs(out) == expected
    assert retry_failed(out) == ["a", "b/c"]
    assert not out.exclusive
    assert not out.create("run.json", b"other")
    assert {item.source for item in finish(out)} == {0, 2}


# A run


def test_a_run(out: RemoteStore, expected: dict[str, bytes]) -> None:
    assert len(finish(out)) == 4 + 11 + 2
    assert outputs(out) == expected
    assert nothing_left(out)
    assert verify(out) == (8, [])
    found = read_status(out)
    assert (found.complete, found.done, found.failed) == (True, 32, 5)
    before = dict(out.fs.held)
    assert finish(out) == []
    assert out.fs.held == before


def test_two_that_share_a_run(out: RemoteStore, exclusive: bool, expected: dict[str, bytes]) -> None:
    books = [ledger(out, rank=rank, world=2) for rank in range(2)]
    done = interleaved(books)
    assert len({item for _, item in done}) == len(done) == 17
    assert {turn for turn, _ in done} == {0, 1}
    assert outputs(out) == expected
    assert nothing_left(out)


def test_two_that_both_got_a_slice(out: RemoteStore, expected: dict[str, bytes]) -> None:
    """Where creation is not exclusive two may look at the same moment: who comes second discards."""
    one, two = ledger(out), ledger(out)
    one.prepare()
    two.claims.take = lambda stem, name: True  # type: ignore[method-assign]
    for item in [*two.work()]:
        do(one, item)
        do(two, item)
    for book in (one, two):
        assert book.complete()
        book.close()
    assert outputs(out) == expected
    assert nothing_left(out)


def test_slices_that_a_process_begins_with() -> None:
    out = remote(Objects(), False)
    with closing(ledger(out, rank=1, world=2)) as book:
        items = list(book.work())
    assert [item.source for item in items[:2]] != [0, 0]
    assert {item.source for item in items} == {0, 2, 3}  # what is its own first, then all the rest


def test_work_is_taken_over_from_the_silent(out: RemoteStore, expected: dict[str, bytes]) -> None:
    first = ledger(out, heartbeat=1000.0)
    next(first.work())  # and then nothing more is heard of it
    for name, (data, modified, number) in out.fs.held.items():
        if "/claims/" in name:
            out.fs.held[name] = (data, modified - STALE - 1, number)
    with closing(ledger(out)) as book:
        for item in book.work():
            do(book, item)
    do(first, BatchTask(0, 0, (0, 1)))  # who comes second discards
    first.close()
    assert outputs(out) == expected
    assert nothing_left(out)


def test_claims(out: RemoteStore) -> None:
    one, two = Claims(out, heartbeat=0.01), Claims(out)
    with closing(one), closing(two):
        assert one.take("s", "0")
        assert not two.take("s", "0")
        assert not one.take("s", "0")
        data, _, number = out.fs.held[f"{ROOT}/claims/s/0"]
        out.fs.held[f"{ROOT}/claims/s/0"] = (data, 0.0, number)
        deadline = time.monotonic() + 5
        while out.fs.held[f"{ROOT}/claims/s/0"][1] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert out.fs.held[f"{ROOT}/claims/s/0"][1] > 0
        one.release("s", "0")
        time.sleep(0.05)
        assert not out.tree("claims")  # no heartbeat brings it back
        assert two.take("s", "0")
        out.replace("claims/s/0", json.dumps({**identity(), "pid": GONE}).encode())
        assert one.take("s", "0")
        two.release("s", "0")
        assert out.exists("claims/s/0")
    assert nothing_left(out)


@cutting
def test_cut_at_each_write(exclusive: bool) -> None:
    begun = Objects()
    pin(remote(begun), describe({}, SOURCES[:3], None))
    whole = begun.copy()
    assert small(remote(whole, exclusive), some) == 5
    for number in range(whole.writes):
        objects = begun.copy()
        objects.left = number
        with suppress(Cut):
            small(remote(objects, exclusive), some)
        objects.left = None
        out = remote(objects, exclusive)
        bury(out)
        small(out, some)
        assert outputs(out) == outputs(remote(whole)), number
        assert nothing_left(out), number
    assert whole.writes > 30


@cutting
def test_retry_cut_at_each_write(exclusive: bool) -> None:
    begun = Objects()
    pin(remote(begun), describe({}, SOURCES[:3], None))
    small(remote(begun, exclusive), some)
    whole: dict[str, bytes] = {}
    for number in itertools.count():
        objects = begun.copy()
        objects.left = number
        out = remote(objects, exclusive)
        with suppress(Cut):
            retry_failed(out)
            small(out, none)
        ended = objects.left != 0
        objects.left = None
        bury(out)
        retry_failed(out)
        assert small(out, none) <= 3, number  # what was good is never computed again
        whole = whole or outputs(out)
        assert outputs(out) == whole, number
        assert nothing_left(out), number
        if ended:
            break
    records = [committed(out, source.stem) for source in SOURCES[:3]]
    assert [r and (r["counts"]["failed"], r["attempt"]) for r in records] == [(0, 2), (0, 1), (0, 2)]
    assert number > 30


def test_a_shard_that_is_being_reopened_is_not_cleaned_up(out: RemoteStore) -> None:
    """Between the copy of its commit record and the record's end whoever comes by completes the step."""
    finish(out)
    out.create(f"{parts_folder('a')}/{parts.REOPENED}", out.read(commit_file("a")))
    assert not clean(out, "a")
    assert committed(out, "a") is None
    assert not reopen(out, "a")
    assert [item.source for item in finish(out)] == [0]  # its failed record only
    assert (committed(out, "a") or {})["attempt"] == 2


def test_starting_on_many_committed_shards_asks_little() -> None:
    fs, shards = Objects(), 500
    out = remote(fs)
    sources = [SOURCES[0].__class__(f"/in/{i}.tar", f"{i:04d}", 1, 1.0) for i in range(shards)]
    pin(out, describe({}, sources, None))
    counts = {"records": 1, "ok": 1, "failed": 0}
    for source in sources:
        tar, rows = f"shards/{source.stem}.tar", f"metrics/{source.stem}.parquet"
        out.create(tar, b"x")
        out.create(rows, b"x")
        record = {"counts": counts, "files": {tar: {"bytes": 1}, rows: {"bytes": 1}}, "timings": {"committed": 1.0}}
        out.create(commit_file(source.stem), json.dumps(record).encode())
    out.create("summary.json", b'{"complete": true}')
    fs.asked.clear()
    held = dict(fs.held)
    with closing(Ledger(out, sources, 2, lambda i: 1)) as book:
        assert book.totals() == (shards, 0, shards)
        assert list(book.work()) == []
        assert book.complete()
    assert fs.asked["cat_file"] < shards + 5  # each commit record once
    assert fs.asked["find"] + fs.asked["info"] < 20
    assert fs.asked["pipe_file"] == 1  # refused: it asks whether creation is exclusive
    assert fs.held == held

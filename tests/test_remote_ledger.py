"""A run in an object store: the same promises as in a folder, where nothing can be renamed."""

from __future__ import annotations

import itertools
import json
import threading
from contextlib import closing, suppress

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
)
from helpers.objects import Cut, Objects

from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import STALE, Claims, identity
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.commit_shard import clean_up
from fcs.shards.ledger.layout import commit_file, parts_folder
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.retry import reopen, retry_failed
from fcs.shards.store.remote import RemoteStore
from fcs.tools.status.read_status import read_status
from fcs.tools.status.verify import verify


@pytest.fixture(params=[True, False], ids=["exclusive", "shared"])
def exclusive(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def out(exclusive: bool) -> RemoteStore:
    return remote(Objects(), exclusive)


def test_a_run(out: RemoteStore, whole_run: dict[str, bytes]) -> None:
    assert len(finish(out)) == 4 + 11 + 2
    assert outputs(out) == whole_run
    assert nothing_left(out)
    assert verify(out) == (8, [])
    found = read_status(out)
    assert (found.complete, found.done, found.failed) == (True, 27, 5)
    before = dict(out.fs.held)
    assert finish(out) == []
    assert out.fs.held == before


def test_two_that_share_a_run(out: RemoteStore, exclusive: bool, whole_run: dict[str, bytes]) -> None:
    books = [ledger(out, rank=rank, world=2) for rank in range(2)]
    done = interleaved(books)
    assert len({item for _, item in done}) == len(done) == 17
    assert {turn for turn, _ in done} == {0, 1}
    assert outputs(out) == whole_run
    assert nothing_left(out)


def test_two_that_both_got_a_slice(out: RemoteStore, whole_run: dict[str, bytes]) -> None:
    """Where creation is not exclusive two may look at the same moment: who comes second discards."""
    one, two = ledger(out), ledger(out)
    one.record_counts()
    two.claims.acquire = lambda stem, name: True  # type: ignore[method-assign]
    for item in [*two.tasks()]:
        do(one, item)
        do(two, item)
    for book in (one, two):
        assert book.complete()
        book.close()
    assert outputs(out) == whole_run
    assert nothing_left(out)


def test_slices_that_a_process_begins_with() -> None:
    out = remote(Objects(), False)
    with closing(ledger(out, rank=1, world=2)) as book:
        items = list(book.tasks())
    assert [item.source for item in items[:2]] != [0, 0]
    assert {item.source for item in items} == {0, 2, 3}  # what is its own first, then all the rest


def test_work_is_taken_over_from_the_silent(out: RemoteStore, whole_run: dict[str, bytes]) -> None:
    first = ledger(out, heartbeat=1000.0)
    next(first.tasks())  # and then nothing more is heard of it
    for name, (data, modified, number) in out.fs.held.items():
        if "/claims/" in name:
            out.fs.held[name] = (data, modified - STALE - 1, number)
    with closing(ledger(out)) as book:
        for item in book.tasks():
            do(book, item)
    do(first, BatchTask(0, 0, (0, 1)))  # who comes second discards
    first.close()
    assert outputs(out) == whole_run
    assert nothing_left(out)


def test_claims(out: RemoteStore) -> None:
    one, two = Claims(out, heartbeat=0.01), Claims(out)
    with closing(one), closing(two):
        assert one.acquire("s", "0")
        assert not two.acquire("s", "0")
        assert not one.acquire("s", "0")
        assert one.acquire("s", "1")
        for name in ("0", "1"):
            data, _, number = out.fs.held[f"{ROOT}/claims/s/{name}"]
            out.fs.held[f"{ROOT}/claims/s/{name}"] = (data, 0.0, number)
        beaten = threading.Semaphore(0)
        out.fs.after = lambda name: beaten.release()
        for _ in range(4):  # heartbeats write both, so each was written
            beaten.acquire()
        assert all(out.fs.held[f"{ROOT}/claims/s/{name}"][1] > 0 for name in ("0", "1"))
        one.release("s", "0")
        while beaten.acquire(blocking=False):
            pass
        for _ in range(2):
            beaten.acquire()
        assert list(out.tree("claims")) == ["claims/s/1"]  # no heartbeat brings the other back
        one.release("s", "1")
        out.fs.after = lambda name: None
        assert two.acquire("s", "0")
        out.replace("claims/s/0", json.dumps({**identity(), "pid": GONE}).encode())
        assert one.acquire("s", "0")
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
    records = [read_commit(out, source.stem) for source in SOURCES[:3]]
    assert [r and (r["counts"]["failed"], r["attempt"]) for r in records] == [(0, 2), (0, 1), (0, 2)]
    assert number > 30


def test_a_shard_that_is_being_reopened_is_not_cleaned_up(out: RemoteStore) -> None:
    """Between the copy of its commit record and the record's end whoever comes by completes the step."""
    finish(out)
    out.create(f"{parts_folder('a')}/{parts.REOPENED}", out.read(commit_file("a")))
    assert not clean_up(out, "a")
    assert read_commit(out, "a") is None
    assert not reopen(out, "a")
    assert [item.source for item in finish(out)] == [0]  # its failed record only
    assert (read_commit(out, "a") or {})["attempt"] == 2


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
        book.load_commits()
        assert book.totals() == (shards, 0, shards)
        assert list(book.tasks()) == []
        assert book.complete()
    assert fs.asked["cat_file"] < shards + 5  # each commit record once
    assert fs.asked["find"] + fs.asked["info"] < 20
    assert fs.asked["pipe_file"] == 1  # refused: it asks whether creation is exclusive
    assert fs.held == held

"""Which batches a process died with: what it leaves, and what becomes of those records."""

from __future__ import annotations

import itertools
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers import ledgers
from helpers.ledgers import bury, cutting, none, nothing_left, outputs, remote, row
from helpers.objects import Cut, Objects

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.commit_tracker import finish_run
from fcs.shards.ledger.crash_markers import TRIES, CrashMarker, crash_count, crashed_alone, read_markers
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.ledger.summary import failed_records
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore

SOURCES = [Source("/in/a.tar", "a", 1, 1.0)]

RECORDS, SIZE = 9, 4

WHOLE = [BatchTask(0, 0, (0, 1, 2, 3)), BatchTask(0, 1, (4, 5, 6, 7)), BatchTask(0, 2, (8,))]

SINGLES = [BatchTask(0, 0, (index,)) for index in range(4)]


@pytest.fixture(params=["folder", "exclusive", "shared"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path) if request.param == "folder" else remote(Objects(), request.param == "exclusive")


def ledger(out: Store, size: int = SIZE) -> Ledger:
    return ledgers.ledger(out, size, [RECORDS], SOURCES)


def do(book: Ledger, item: BatchTask) -> None:
    """As the command does it: what is crashed becomes a failed row, all else is ok."""
    rows = [row(0, index, none) for index in item.wanted]
    if item.crashed:
        rows = [type(one)(one.index, one.key, f"crashed: {item.crashed} times") for one in rows]
    book.finish(item.source, item.batch, rows)


def finish(out: Store, size: int = SIZE) -> list[BatchTask]:
    done = []
    with closing(ledger(out, size)) as book:
        while not book.complete():
            for item in book.tasks():
                done.append(item)
                do(book, item)
    return done


class Dying:
    """Processes that die while they hold batches."""

    def __init__(self) -> None:
        self.gone: list[object] = []  # what is dropped would give its batches back

    def __call__(self, out: Store, taken: int = 1, done: int = 0, size: int = SIZE, times: int = 1) -> list[BatchTask]:
        """Take so many batches, finish some and die; returns what was taken, the last time."""
        for _ in range(times):
            book = ledger(out, size)
            tasks = book.tasks()
            items = []
            for item in itertools.islice(tasks, taken):
                items.append(item)
                if len(items) <= done:
                    do(book, item)
            self.gone += [book, tasks]
            bury(out)
        return items


@pytest.fixture
def die() -> Dying:
    return Dying()


@pytest.fixture(scope="module")
def expected() -> dict[str, bytes]:
    """What an undisturbed run gives."""
    out = remote(Objects())
    assert finish(out) == WHOLE
    return outputs(out)


def test_what_markers_say() -> None:
    me, one, two = (f"{number:032x}" for number in range(3))
    made = [
        CrashMarker(0, 3, False, one),
        CrashMarker(4, 7, False, one),
        CrashMarker(4, 4, True, two),
        CrashMarker(5, 5, False, me),
    ]
    left = read_markers(
        [*(marker.name for marker in made), "000000", ".000000.takeover", f".000000.{'0' * 12}.tmp"], me
    )
    assert left == made[:3]
    assert [crash_count(left, first, stop) for first, stop in ((0, 4), (4, 8), (3, 5), (8, 9))] == [1, 2, 2, 0]
    assert [index for index in range(9) if crashed_alone(left, index)] == [4]


def test_after_three_crashes_one_record_at_a_time(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    assert die(out, times=TRIES) == WHOLE[:1]
    assert finish(out) == WHOLE[1:] + SINGLES
    assert outputs(out) == expected
    assert nothing_left(out)


def test_only_what_was_held_is_blamed(out: Store, die: Dying) -> None:
    assert die(out, taken=2, done=1) == WHOLE[:2]
    assert die(out) == WHOLE[1:2]
    assert finish(out) == WHOLE[1:]


def test_who_ends_by_itself_leaves_no_marker(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out)
    for _ in range(TRIES):
        with closing(ledger(out)) as book:
            tasks = book.tasks()
            assert [next(tasks), next(tasks)] == WHOLE[:2]
    die(out)
    with closing(ledger(out)) as book:
        assert next(book.tasks()) == WHOLE[0]
    die(out)  # the third: what was released in between has lost none of them
    assert finish(out) == WHOLE[1:] + SINGLES
    assert outputs(out) == expected


def test_a_record_that_kills_alone_is_crashed(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    assert die(out, taken=3, done=2) == [*WHOLE[1:], SINGLES[0]]
    crashed = BatchTask(0, 0, (0,), crashed=TRIES + 1)
    assert finish(out) == [crashed, *SINGLES[1:]]
    assert failed_records(out, 9) == [("a", "a-0", "crashed: 4 times")]
    assert nothing_left(out)
    # Tried again only when it is asked for, and then as if nothing had been.
    assert finish(out) == []
    assert retry_failed(out) == ["a"]
    assert finish(out) == [BatchTask(0, 0, (0,))]
    assert outputs(out)["shards/a.tar"] == expected["shards/a.tar"]
    assert (read_commit(out, "a") or {})["counts"] == {"records": RECORDS, "ok": RECORDS, "failed": 0}


def test_a_single_record_waits_until_nothing_else_is_held(out: Store, die: Dying) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as book:
        others = list(book.tasks())
        assert others == WHOLE[1:]
        do(book, others[0])
        assert list(book.tasks()) == []
        do(book, others[1])
        for single in SINGLES:
            assert list(book.tasks()) == [single]  # and no more, though it is not done
            assert list(book.tasks()) == []
            do(book, single)
        assert book.complete()


def test_a_single_record_waits_for_other_slices(out: Store, die: Dying) -> None:
    die(out, size=1, times=TRIES)
    with closing(ledger(out, 1)) as book:
        *others, last = book.tasks()  # the last is the first of another slice
        for item in others:
            do(book, item)
        assert list(book.tasks()) == []
        do(book, last)
        assert list(book.tasks()) == [BatchTask(0, 0, (0,))]


def test_others_wait_for_a_single_record(out: Store, die: Dying) -> None:
    die(out, size=1, times=TRIES)
    with closing(ledger(out, 1)) as other, closing(ledger(out, 1)) as book:
        *first, last = other.tasks()
        for item in first:
            do(other, item)
        (single,) = book.tasks()
        assert single == BatchTask(0, 0, (0,))
        other.release(last.source, last.batch)
        do(book, single)
        assert next(book.tasks()) == last
        assert parts.covered_ranges(out, "a") == [(0, 7)]


def test_nothing_is_given_beside_a_single_record(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as book:
        for item in list(book.tasks()):
            do(book, item)
        for single in SINGLES:
            assert list(book.tasks()) == [single]
            assert list(book.tasks()) == []
            do(book, single)
        assert book.complete()
    assert outputs(out) == expected


def test_crashes_are_of_records_whatever_the_batch_size(out: Store, die: Dying) -> None:
    die(out, taken=2, size=1, times=2)  # alone in a batch, but not alone in the process
    die(out, size=2)
    assert finish(out) == [*WHOLE[1:], *SINGLES[:2], BatchTask(0, 0, (2, 3))]


def test_several_processes(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as one, closing(ledger(out)) as two:
        for item in one.tasks():
            do(one, item)
            if item.wanted == (0,):
                break
        single = next(one.tasks())
        assert single == SINGLES[1]
        assert list(two.tasks()) == []  # the other process holds it
        do(one, single)
        assert list(two.tasks()) == [SINGLES[2]]
        do(two, SINGLES[2])
    finish(out)
    assert outputs(out) == expected


@cutting
def test_cut_at_each_write(die: Dying) -> None:
    """A kill anywhere loses and doubles nothing, and blames at most the one record that was held alone."""
    begun = Objects()
    die(remote(begun), times=TRIES)
    die(remote(begun), taken=3, done=2)
    # Who is cut while it takes a claim over holds up the next for two minutes: there is none to be taken over here.
    remote(begun).delete("claims/a/000000")
    for number in itertools.count():
        objects = begun.copy()
        objects.left = number
        out = remote(objects)
        with suppress(Cut):
            finish(out)
        ended = objects.left != 0
        objects.left = None
        die(out, taken=0)
        finish(out)
        crashed = [key for _, key, _ in failed_records(out, 9)]
        assert crashed[:1] == ["a-0"], number
        assert len(crashed) <= 2, number
        assert (read_commit(out, "a") or {})["counts"]["records"] == RECORDS
        assert nothing_left(out)
        if ended:
            break
    assert number > 20


def test_whoever_finds_a_complete_run_cleans_up(out: Store) -> None:
    """The last process may be killed between its commit record and all that follows."""
    finish(out)
    whole = outputs(out)
    finish_run(out)
    assert outputs(out) == whole
    out.delete("summary.json")
    out.create("parts/a/00000000-00000003", b"")
    out.create("claims/a/merge", b"{}")
    finish_run(out)
    assert outputs(out) == whole
    assert nothing_left(out)

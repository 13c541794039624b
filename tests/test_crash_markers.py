"""A record that kills the process becomes a failed row; all others come out as without it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers import ledgers
from helpers.ledgers import bury, cutting, none, nothing_left, outputs, remote, row
from helpers.objects import Cut, Objects
from helpers.shards import samples
from helpers.waiting import GUARD

from fcs.core.records import Record
from fcs.engine.read_ahead import ReadAhead
from fcs.shards.input.decode import Format
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.reader import ShardReader
from fcs.shards.input.sources import Source, resolve
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.commit_records import committed
from fcs.shards.ledger.commits import end
from fcs.shards.ledger.crash_markers import TRIES, CrashMarker, alone, deaths, marks
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.ledger.summary import failures
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main

SOURCES = [Source("/in/a.tar", "a", 1, 1.0)]
RECORDS, SIZE = 9, 4
WHOLE = [BatchTask(0, 0, (0, 1, 2, 3)), BatchTask(0, 1, (4, 5, 6, 7)), BatchTask(0, 2, (8,))]
SINGLES = [BatchTask(0, 0, (index,)) for index in range(4)]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


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
            for item in book.work():
                done.append(item)
                do(book, item)
    return done


class Dying:
    """Processes that die with batches in hand."""

    def __init__(self) -> None:
        self.gone: list[object] = []  # what is dropped would give its batches back

    def __call__(self, out: Store, taken: int = 1, done: int = 0, size: int = SIZE, times: int = 1) -> list[BatchTask]:
        """Take so many batches, finish some and die; returns what was taken, the last time."""
        for _ in range(times):
            book = ledger(out, size)
            walk = book.work()
            items = []
            for item in itertools.islice(walk, taken):
                items.append(item)
                if len(items) <= done:
                    do(book, item)
            self.gone += [book, walk]
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


def test_what_marks_say() -> None:
    me, one, two = (f"{number:032x}" for number in range(3))
    made = [
        CrashMarker(0, 3, False, one),
        CrashMarker(4, 7, False, one),
        CrashMarker(4, 4, True, two),
        CrashMarker(5, 5, False, me),
    ]
    left = marks([*(mark.name for mark in made), "000000", ".000000.takeover", f".000000.{'0' * 12}.tmp"], me)
    assert left == made[:3]
    assert [deaths(left, first, stop) for first, stop in ((0, 4), (4, 8), (3, 5), (8, 9))] == [1, 2, 2, 0]
    assert [index for index in range(9) if alone(left, index)] == [4]


def test_after_three_deaths_one_record_at_a_time(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    assert die(out, times=TRIES) == WHOLE[:1]
    assert finish(out) == WHOLE[1:] + SINGLES
    assert outputs(out) == expected
    assert nothing_left(out)


def test_only_what_was_in_hand_is_blamed(out: Store, die: Dying) -> None:
    assert die(out, taken=2, done=1) == WHOLE[:2]
    assert die(out) == WHOLE[1:2]
    assert finish(out) == WHOLE[1:]


def test_who_ends_by_itself_leaves_no_death(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out)
    for _ in range(TRIES):
        with closing(ledger(out)) as book:
            walk = book.work()
            assert [next(walk), next(walk)] == WHOLE[:2]
    die(out)
    with closing(ledger(out)) as book:
        assert next(book.work()) == WHOLE[0]
    die(out)  # the third: what was given back in between has lost none of them
    assert finish(out) == WHOLE[1:] + SINGLES
    assert outputs(out) == expected


def test_a_record_that_kills_alone_is_crashed(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    assert die(out, taken=3, done=2) == [*WHOLE[1:], SINGLES[0]]
    crashed = BatchTask(0, 0, (0,), crashed=TRIES + 1)
    assert finish(out) == [crashed, *SINGLES[1:]]
    assert failures(out, 9) == [("a", "a-0", "crashed: 4 times")]
    assert nothing_left(out)
    # Tried again only when it is asked for, and then as if nothing had been.
    assert finish(out) == []
    assert retry_failed(out) == ["a"]
    assert finish(out) == [BatchTask(0, 0, (0,))]
    assert outputs(out)["shards/a.tar"] == expected["shards/a.tar"]
    assert (committed(out, "a") or {})["counts"] == {"records": RECORDS, "ok": RECORDS, "failed": 0}


def test_a_single_record_waits_until_nothing_is_in_hand(out: Store, die: Dying) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as book:
        others = list(book.work())
        assert others == WHOLE[1:]
        do(book, others[0])
        assert list(book.work()) == []
        do(book, others[1])
        for single in SINGLES:
            assert list(book.work()) == [single]  # and no more, though it is not done
            assert list(book.work()) == []
            do(book, single)
        assert book.complete()


def test_a_single_record_waits_for_other_slices(out: Store, die: Dying) -> None:
    die(out, size=1, times=TRIES)
    with closing(ledger(out, 1)) as book:
        *others, last = book.work()  # the last is the first of another slice
        for item in others:
            do(book, item)
        assert list(book.work()) == []
        do(book, last)
        assert list(book.work()) == [BatchTask(0, 0, (0,))]


def test_others_wait_for_a_single_record(out: Store, die: Dying) -> None:
    die(out, size=1, times=TRIES)
    with closing(ledger(out, 1)) as other, closing(ledger(out, 1)) as book:
        *first, last = other.work()
        for item in first:
            do(other, item)
        (single,) = book.work()
        assert single == BatchTask(0, 0, (0,))
        other.abandon(last.source, last.batch)
        do(book, single)
        assert next(book.work()) == last
        assert parts.covered(out, "a") == [(0, 7)]


def test_nothing_is_given_beside_a_single_record(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as book:
        for item in list(book.work()):
            do(book, item)
        for single in SINGLES:
            assert list(book.work()) == [single]
            assert list(book.work()) == []
            do(book, single)
        assert book.complete()
    assert outputs(out) == expected


def test_deaths_are_of_records_whatever_the_batch_size(out: Store, die: Dying) -> None:
    die(out, taken=2, size=1, times=2)  # alone in a batch, but not in hand: no crash
    die(out, size=2)
    assert finish(out) == [*WHOLE[1:], *SINGLES[:2], BatchTask(0, 0, (2, 3))]


def test_several_processes(out: Store, die: Dying, expected: dict[str, bytes]) -> None:
    die(out, times=TRIES)
    with closing(ledger(out)) as one, closing(ledger(out)) as two:
        for item in one.work():
            do(one, item)
            if item.wanted == (0,):
                break
        single = next(one.work())
        assert single == SINGLES[1]
        assert list(two.work()) == []  # it is in hand there
        do(one, single)
        assert list(two.work()) == [SINGLES[2]]
        do(two, SINGLES[2])
    finish(out)
    assert outputs(out) == expected


@cutting
def test_cut_at_each_write(die: Dying) -> None:
    """A kill anywhere loses and doubles nothing, and blames at most the one record that was in hand alone."""
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
        crashed = [key for _, key, _ in failures(out, 9)]
        assert crashed[:1] == ["a-0"], number
        assert len(crashed) <= 2, number
        assert (committed(out, "a") or {})["counts"]["records"] == RECORDS
        assert nothing_left(out)
        if ended:
            break
    assert number > 20


def test_whoever_finds_a_complete_run_cleans_up(out: Store) -> None:
    """The last process may be killed between its commit record and all that follows."""
    finish(out)
    whole = outputs(out)
    end(out)
    assert outputs(out) == whole
    out.delete("summary.json")
    out.create("parts/a/00000000-00000003", b"")
    out.create("claims/a/merge", b"{}")
    end(out)
    assert outputs(out) == whole
    assert nothing_left(out)


# Reading


def reading(shard: Path, work: list[BatchTask], workers: int) -> ReadAhead:
    return ReadAhead(iter(work), OpenShards(resolve(str(shard)), Format(1, 16, 16, needs_mask=True)), 4, 0, "", workers)


def failing(error: BaseException) -> Callable[..., Record]:
    def record(reader: ShardReader, number: int) -> Record:
        raise error

    return record


def test_a_crashed_record_is_not_even_decoded(digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShardReader, "record", failing(AssertionError()))
    ahead = reading(digits_shard, [BatchTask(0, 1, (6,), crashed=4)], workers=1)
    (batch,) = ahead
    ahead.shards.close()
    record = batch.records[2]
    assert record is not None
    assert (record.index, record.key) == (6, list(samples(digits_shard))[6])
    assert record.error == "crashed: the process died 4 times while it was sampled"
    assert not any(batch.valid)


def test_a_torn_end_cannot_crash(digits_shard: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(digits_shard.read_bytes()[:20_000])
    with closing(OpenShards(resolve(f"{tmp_path}/a.tar"), Format(1, 16, 16))) as shards:
        with shards.reading(0) as reader:
            last = len(reader) - 1
        (batch,) = ReadAhead(iter([BatchTask(0, 0, (last,), crashed=4)]), shards, last + 1, 0, "", 0)
    record = batch.records[last]
    assert record is not None
    assert (record.error or "").startswith("truncated: ")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [ValueError("a defect"), StopIteration("a defect")], ids=["any", "stop"])
def test_a_reader_that_raises_ends_the_run(
    workers: int, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a defect's code, and not as if there were no more data: that would wait for ever."""
    monkeypatch.setattr(ShardReader, "record", failing(error))
    settings = ["steps=1", "data.limit=4", f"data.workers={workers}", f"out={tmp_path}/o"]
    assert main(["--config", "digits_inpaint", *settings]) == 70
    assert "a defect" in capsys.readouterr().err


# The real thing

KEY = "r4"
TASK = f"""
import os, signal
from fcs.tasks import Inpaint
class Killing(Inpaint):
    def constraint(self, batch, model):
        if {KEY!r} in [record.key for record in batch.records if record and record.error is None]:
            if os.environ.get("KILLING") == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            assert "KILLING" not in os.environ
        return super().constraint(batch, model)
"""


def inputs(folder: Path, shard: Path) -> list[str]:
    """Six digits and a task that one of them can kill; the arguments of the command."""
    with wds.TarWriter(str(folder / "in.tar"), mtime=0) as tar:
        for number, members in enumerate(itertools.islice(samples(shard).values(), 6)):
            tar.write({"__key__": f"r{number}", **members})
    (folder / "killing.py").write_text(TASK)
    settings = ["data.batch_size=3", "steps=1", "previews.max=0", "task=killing.Killing"]
    return ["--config", "digits_inpaint", f"data.shards={folder}/in.tar", *settings]


def test_a_record_that_kills_the_command(tmp_path: Path, digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deaths are given, since each start takes seconds; the third, and the one alone, are real."""
    monkeypatch.syspath_prepend(tmp_path)
    arguments, out = inputs(tmp_path, digits_shard), tmp_path / "out"
    assert main([*arguments, f"out={tmp_path}/whole"]) == 0
    (out / "claims/in").mkdir(parents=True)
    for number in range(TRIES - 1):
        (out / "claims/in" / CrashMarker(3, 5, False, f"{number:032x}").name).touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("KILLING", "kill")
    for _ in range(2):
        command = [sys.executable, "-m", "fcs.tools.cli.predict", *arguments, f"out={out}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=GUARD, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not committed(LocalStore(out), "in")
    monkeypatch.setenv("KILLING", "no more")
    assert main([*arguments, f"out={out}"]) == 3
    rows = pq.read_table(out / "metrics/in.parquet", columns=["key", "error"]).to_pylist()
    error = "crashed: the process died 4 times while it was sampled"
    assert rows == [{"key": f"r{i}", "error": error if f"r{i}" == KEY else None} for i in range(6)]
    whole, crashed = (samples(tmp_path / name / "shards/in.tar") for name in ("whole", "out"))
    assert crashed == {key: members for key, members in whole.items() if key != KEY}
    assert main([*arguments, f"out={out}"]) == 3
    monkeypatch.delenv("KILLING")
    assert main([*arguments, f"out={out}", "data.retry_failed=true"]) == 0
    assert samples(out / "shards/in.tar") == whole
    assert nothing_left(LocalStore(out))

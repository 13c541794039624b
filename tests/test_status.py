"""The state of a run from its folder, at any moment, and whether its files are still those that were committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.ledger.retry import retry_failed
from fcs.shards.ledger.totals import totals
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.status import lines, main
from fcs.tools.status.read_status import read_status
from fcs.tools.status.run_status import ShardStatus

BATCH = 2
COUNTS = (40, 3, 20)


def sources(folder: Path, sizes: bool = True) -> list[Source]:
    folder.mkdir(exist_ok=True)
    names = ["a", "b", "deep-c"]
    if sizes:
        table = {f"{name}.tar": count for name, count in zip(names, COUNTS, strict=True)}
        (folder / "sizes.json").write_text(json.dumps(table))
    stems = [name.replace("-", "/") for name in names]
    return [Source(f"{folder}/{name}.tar", stem, 1, 1.0) for name, stem in zip(names, stems, strict=True)]


def work(out: Path, batches: int, limit: int | None = None, sizes: bool = True) -> Ledger:
    """A process of a run that has done so many batches; every fifth record fails."""
    found = sources(out.parent / "in", sizes)
    pin(LocalStore(out), describe({}, found, limit))
    book = Ledger(LocalStore(out), found, BATCH, lambda number: COUNTS[number], limit=limit)
    walk = book.tasks()
    book.walk = walk  # type: ignore[attr-defined]  # one that is dropped gives its slice back
    for item in islice(walk, batches):
        rows = [Row(i, f"k{i}", "bad_image: x" if i % 5 == 4 else None, i, 1, 0.1) for i in item.wanted]
        book.finish(item.source, item.batch, rows)
    return book


def finish(out: Path, **options: Any) -> None:
    with closing(work(out, 1000, **options)):
        pass


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def asked(out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main([str(out), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_before_anything_is_done(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work(out, 0).close()
    found = asked(out, capsys)
    assert found["records"] == {"total": 63, "done": 0, "missing": 63, "failed": 0, "failures": {}}
    assert found["shards"] == {"total": 3, "committed": 0, "damaged": []}
    assert (found["complete"], found["rate"], found["seconds_left"], found["processes"]) == (False, None, None, [])
    assert found["slices"] == 3  # no process has told its batches: 128 records a slice


def test_a_run_that_goes_on(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(work(out, 9)):
        found = asked(out, capsys)
        assert found["records"] == {"total": 63, "done": 15, "missing": 45, "failed": 3, "failures": {"bad_image": 3}}
        assert found["slices"] == 2 + 1 + 2
        (process,) = found["processes"]
        assert process["state"] == "working"
        assert (process["done"], process["failed"], process["batch"]) == (15, 3, 2)
        assert found["rate"] == process["rate"] > 0
        assert found["seconds_left"] == pytest.approx(45 / found["rate"])
        assert not process["straggler"]
        text = "\n".join(lines(read_status(LocalStore(out))))
        assert "15 of 63 done, 3 failed, 45 missing" in text
        assert process["id"] in text
    assert asked(out, capsys)["processes"][0]["state"] == "idle"
    assert read_status(LocalStore(out), time.time() + 1000).processes[0].state == "ended"


def test_shards_that_are_committed(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(work(out, 20 + 2 + 1)):
        found = asked(out, capsys)
    assert found["shards"] == {"total": 3, "committed": 2, "damaged": []}
    assert found["records"] == {"total": 63, "done": 37, "missing": 18, "failed": 8, "failures": {"bad_image": 8}}
    assert found["slices"] == 2


def test_a_complete_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    found = asked(out, capsys, "--verify")
    assert found["complete"]
    assert found["records"]["done"] + found["records"]["failed"] == found["records"]["total"] == 63
    assert found["records"]["failures"] == {"bad_image": 8 + 4}
    assert (found["slices"], found["array"]) == (0, None)
    assert found["verify"] == {"files": 6, "differ": []}
    assert [process["state"] for process in found["processes"]] == ["ended"]
    assert main([str(out), "--array"]) == 0
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_failed_records_are_not_done_and_count_before_their_shard_is_committed(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = sources(out.parent / "in")
    pin(LocalStore(out), describe({}, found, None))
    for first, last, error in ((0, 9, "bad_image: x"), (8, 11, "mask_size: x"), (20, 29, None)):
        rows = [Row(i, f"k{i}", error) for i in range(first, last + 1)]
        parts.write(LocalStore(out), "a", result_rows.table(rows, "a"))
    failures = {"bad_image": 10, "mask_size": 2}  # of two parts the first by name counts
    expected = {"total": 63, "done": 10, "missing": 41, "failed": 12, "failures": failures}
    assert asked(out, capsys)["records"] == expected
    assert next(lines(read_status(LocalStore(out)))) == "records    10 of 63 done, 12 failed, 41 missing"
    assert totals(LocalStore(out), found) == (10, 12, 63)


def test_a_limit(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(work(out, 1, limit=42)):
        found = asked(out, capsys)
    assert found["records"]["total"] == 42
    assert found["shards"]["total"] == 2
    finish(out, limit=42)
    found = asked(out, capsys)
    assert found["complete"]
    assert found["records"]["done"] + found["records"]["failed"] == 42


def test_unknown_sizes(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(work(out, 1, sizes=False)):
        found = asked(out, capsys)
        assert found["records"]["total"] is None
        assert found["seconds_left"] is None
        assert "2 of ? done" in "\n".join(lines(read_status(LocalStore(out))))
    assert main([str(out), "--array"]) == 0
    assert capsys.readouterr().out == "0-2\n"


def test_a_reopened_run(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(out)
    retry_failed(LocalStore(out))
    with closing(work(out, 0)):  # its first look turns the good results into parts
        assert asked(out, capsys)["records"]["missing"] == 63 - 3
    with closing(work(out, 1)):
        assert asked(out, capsys)["records"]["missing"] < 63 - 3


@pytest.mark.parametrize(
    ("tasks", "batches", "expected"), [(0, 1, "0-5"), (2, 1, "0-1"), (64, 1, "0-5"), (4, 30, "0-0")]
)
def test_array(
    out: Path,
    tasks: int,
    batches: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if tasks:
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", str(tasks))
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    work(out, batches).close()
    assert main([str(out), "--array"]) == 0
    assert capsys.readouterr().out == f"{expected}\n"
    assert read_status(LocalStore(out)).processes[0].task == ("7" if tasks else "")


def test_the_last_array_counts(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tasks in (5, 2):
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", str(tasks))
        work(out, 1).close()
    assert read_status(LocalStore(out)).array == "0-1"


def test_slices() -> None:
    def missing(size: int | None, *spans: tuple[int, int]) -> int:
        return ShardStatus("a", size, None, {}, spans).slices(BATCH)

    assert missing(None) == 1
    assert missing(0) == 1  # to commit it
    assert missing(16) == 1
    assert missing(17) == 2
    assert missing(40, (0, 15)) == 2
    assert missing(40, (0, 14), (16, 39)) == 1
    assert missing(40, (3, 20)) == 3
    assert missing(40, (0, 39)) == 1
    assert ShardStatus("a", 40, {"records": 40}, {}, ()).slices(BATCH) == 0


def write_process(out: Path, name: str, rate: float, silent: float, claim: float | None, now: float) -> None:
    """A process that wrote its last batch ``silent`` seconds ago and touched its claim ``claim`` seconds ago."""
    (out / "workers").mkdir(exist_ok=True)
    (out / "claims" / "a").mkdir(parents=True, exist_ok=True)
    worker = {"id": f"node-1-{name}", "done": 9, "failed": 0, "rate": rate, "started": now - 1000, "batch": 8}
    (out / "workers" / f"{name}.json").write_text(json.dumps({**worker, "updated": now - silent}))
    if claim is not None:
        path = out / "claims" / "a" / name
        path.write_text(json.dumps({"id": f"{name}-and-more", "host": "node", "pid": 1}))
        os.utime(path, (now - claim, now - claim))


def test_states_and_stragglers(out: Path) -> None:
    work(out, 0).close()
    now = time.time()
    for name, values in {
        "steady00": (8.0, 1, 1),
        "steady01": (8.0, 1, 30),
        "slow0000": (3.0, 2, 1),
        "stuck000": (8.0, 90, 1),
        "idle0000": (8.0, 60, None),
        "lost0000": (8.0, 130, 130),
        "ended000": (8.0, 130, None),
    }.items():
        write_process(out, name, *values, now=now)
    found = {process.id[7:]: process for process in read_status(LocalStore(out), now).processes}
    assert {name: process.state for name, process in found.items()} == {
        **dict.fromkeys(("steady00", "steady01", "slow0000", "stuck000"), "working"),
        "idle0000": "idle",
        "lost0000": "lost",
        "ended000": "ended",
    }
    assert {name for name, process in found.items() if process.straggler} == {"slow0000", "stuck000"}
    assert read_status(LocalStore(out), now).rate == 8 + 8 + 3 + 8


def test_a_process_before_its_first_batch(out: Path) -> None:
    book = work(out, 0)
    with closing(book):
        next(book.tasks())
        (process,) = read_status(LocalStore(out)).processes
        assert (process.state, process.done, process.rate) == ("working", 0, None)
        assert process.id == book.stats.name
        assert any("-" in line for line in lines(read_status(LocalStore(out))))


def test_a_process_that_was_killed_on_this_machine(out: Path) -> None:
    book = work(out, 1)
    with closing(book):
        (claim,) = (out / "claims" / "a").iterdir()
        with subprocess.Popen(["true"]) as dead:
            pass
        claim.write_text(json.dumps({**book.claims.me, "pid": dead.pid}))
        assert read_status(LocalStore(out)).processes[0].state == "lost"
        claim.write_text(json.dumps({**book.claims.me, "pid": dead.pid, "host": "elsewhere"}))
        assert read_status(LocalStore(out)).processes[0].state == "working"


def damage(out: Path) -> Iterator[tuple[str, str]]:
    tar = out / "shards" / "a.tar"
    whole = tar.read_bytes()
    tar.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    yield "shards/a.tar", "another sha256"
    tar.write_bytes(whole[:-1])
    yield "shards/a.tar", f"{len(whole) - 1} bytes, committed were {len(whole)}"
    tar.unlink()
    yield "shards/a.tar", "missing"
    tar.write_bytes(whole)
    (out / "shards" / "deep" / "c.json").write_text("{")
    yield "shards/deep/c.json", "no commit record"


def test_damage(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(out)
    for name, what in damage(out):
        assert main([str(out), "--verify"]) == 74
        said = capsys.readouterr()
        assert "1 differ" in said.out
        (line,) = (line for line in said.out.splitlines() if line.startswith(name))
        assert what in line
        assert said.err.count("\n") == 1
        assert main([str(out)]) == 0  # without --verify no file of results is read
        capsys.readouterr()


def test_files_that_were_deleted_by_hand_are_missing_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(out)
    for name in ("shards/a.tar", "metrics/deep/c.parquet"):
        (out / name).unlink()
    found = asked(out, capsys)
    assert not found["complete"]
    assert found["records"] == {"total": 63, "done": 3, "missing": 60, "failed": 0, "failures": {}}
    assert found["shards"] == {"total": 3, "committed": 1, "damaged": ["a", "deep/c"]}
    assert found["array"] == "0-4"
    assert main([str(out)]) == 0
    said = "damaged    2 shards not as committed, to be computed again: a, deep/c"
    assert said in capsys.readouterr().out.splitlines()
    finish(out)
    assert asked(out, capsys)["complete"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "OUT"),
        (["nowhere"], "OUT=nowhere"),
        (["empty"], "no run.json"),
        (["others"], "run.json is damaged, or another program's"),
        (["cut"], "run.json is damaged, or another program's"),
        (["empty", "--jsn"], "did you mean --json?"),
        (["empty", "--array", "--verify"], "--array"),
    ],
)
def test_mistakes(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, run in {"empty": None, "others": '{"shards": [{}], "settings": {}}', "cut": '{"sha'}.items():
        (tmp_path / name).mkdir()
        if run is not None:
            (tmp_path / name / "run.json").write_text(run)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("fcs-status: ")
    assert said.err.count("\n") == 1
    assert expected in said.err


# The command, which says afterwards how often it opened a file of the run and which large packages it imported.
COUNTED = """
import sys
from fcs.tools.cli.status import main
opened = []
sys.addaudithook(lambda event, given: event == "open" and str(given[0]).startswith(sys.argv[1]) and opened.append(1))
main()
print(len(opened), [name for name in ("torch", "numpy", "pyarrow", "fsspec", "PIL") if name in sys.modules])
"""


def test_it_starts_without_torch_and_reads_each_of_many_shards_once(out: Path) -> None:
    (out / "shards").mkdir(parents=True)
    counts = {"records": 10, "ok": 9, "failed": 1}
    record = {"counts": counts, "failures": {"bad_image": 1}, "files": {}, "timings": {}}
    for number in range(1000):
        (out / "shards" / f"{number}.json").write_text(json.dumps(record))
    shards = [{"url": f"/in/{number}.tar", "stem": str(number)} for number in range(2000)]
    (out / "run.json").write_text(json.dumps({"shards": shards, "limit": None}))
    said = subprocess.run([sys.executable, "-c", COUNTED, str(out)], capture_output=True, text=True, check=True).stdout
    assert "1000 of 2000 committed, 1000 slices to do" in said
    assert "9000 of ? done, 1000 failed" in said
    opened, _, imported = said.splitlines()[-1].partition(" ")
    assert 1000 < int(opened) < 1020
    assert imported == "[]"

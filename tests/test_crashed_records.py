"""A record that kills the process becomes a failed row; all others come out as without it."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers import forked
from helpers.ledgers import nothing_left

from fcs.core.records import Record
from fcs.engine.read_ahead import ReadAhead
from fcs.shards.input.decode import Format
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.input.whole_tar import members_by_key
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.crash_markers import TRIES, CrashMarker
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main


def reading(shard: Path, work: list[BatchTask], workers: int) -> ReadAhead:
    return ReadAhead(iter(work), OpenShards(resolve(str(shard)), Format(1, 16, 16, needs_mask=True)), 4, workers)


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
    assert (record.index, record.key) == (6, list(members_by_key(digits_shard))[6])
    assert record.error == "crashed: the process died 4 times while it was sampled"
    assert all(one is None or one.error for one in batch.records)


def test_a_torn_end_cannot_crash(digits_shard: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(digits_shard.read_bytes()[:20_000])
    with closing(OpenShards(resolve(f"{tmp_path}/a.tar"), Format(1, 16, 16))) as shards:
        with shards.reading(0) as reader:
            last = len(reader) - 1
        (batch,) = ReadAhead(iter([BatchTask(0, 0, (last,), crashed=4)]), shards, last + 1, 0)
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
        for number, members in enumerate(itertools.islice(members_by_key(shard).values(), 6)):
            tar.write({"__key__": f"r{number}", **members})
    (folder / "killing.py").write_text(TASK)
    settings = ["data.batch_size=3", "steps=1", "previews.max=0", "task=killing.Killing"]
    return ["--config", "digits_inpaint", f"data.shards={folder}/in.tar", *settings]


def test_a_record_that_kills_the_command(tmp_path: Path, digits_shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers of two crashes are written, since a start takes seconds; the third, and the one alone, are real."""
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
        ended = forked.run(command)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not read_commit(LocalStore(out), "in")
    monkeypatch.setenv("KILLING", "no more")
    assert main([*arguments, f"out={out}"]) == 3
    rows = pq.read_table(out / "metrics/in.parquet", columns=["key", "error"]).to_pylist()
    error = "crashed: the process died 4 times while it was sampled"
    assert rows == [{"key": f"r{i}", "error": error if f"r{i}" == KEY else None} for i in range(6)]
    whole, crashed = (members_by_key(tmp_path / name / "shards/in.tar") for name in ("whole", "out"))
    assert crashed == {key: members for key, members in whole.items() if key != KEY}
    assert main([*arguments, f"out={out}"]) == 3
    monkeypatch.delenv("KILLING")
    assert main([*arguments, f"out={out}", "data.retry_failed=true"]) == 0
    assert members_by_key(out / "shards/in.tar") == whole
    assert nothing_left(LocalStore(out))

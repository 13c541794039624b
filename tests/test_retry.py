"""Trying failed records again keeps the good results, and the summary says what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.parts import row, write

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.ledger.commit_shard import commit_shard
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.retry import expand, launched, reopen, retry_failed
from fcs.shards.ledger.summary import summarize
from fcs.shards.store.local import LocalStore


def run(
    tmp_path: Path, limit: int | None = None, mtime: float = 1.5, names: str = "ab", **settings: object
) -> dict[str, object]:
    sources = [Source(f"/in/{name}.tar", name, 10, mtime) for name in names]
    return describe({"steps": 20, "sampler": {"direction": "newton", "sizes": (1, 2)}, **settings}, sources, limit)


def test_reopened_shard_keeps_good_results(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path, names="s"))
    write(tmp_path, "s", row(0), row(1), row(2, "x: y"), row(3))
    commit_shard(LocalStore(tmp_path), "s", 4)
    assert retry_failed(LocalStore(tmp_path), before=0.0) == []
    assert retry_failed(LocalStore(tmp_path)) == ["s"]
    assert retry_failed(LocalStore(tmp_path)) == []
    assert parts.attempt(LocalStore(tmp_path), "s") == 2
    expand(LocalStore(tmp_path), "s")
    assert parts.covered_ranges(LocalStore(tmp_path), "s") == [(0, 1), (3, 3)]
    assert parts.attempt(LocalStore(tmp_path), "s") == 2
    write(tmp_path, "s", row(2))
    assert commit_shard(LocalStore(tmp_path), "s", 4)
    assert (read_commit(LocalStore(tmp_path), "s") or {})["attempt"] == 2
    write(tmp_path / "clean", "s", *(row(i) for i in range(4)))
    commit_shard(LocalStore(tmp_path / "clean"), "s", 4)
    for name in ("shards/s.tar", "metrics/s.parquet", "features/clip/s.parquet"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "clean" / name).read_bytes(), name
    assert retry_failed(LocalStore(tmp_path)) == []


def test_tasks_of_one_job_retry_a_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_STEP_ID", "FCS_LAUNCH"):
        monkeypatch.delenv(name, raising=False)
    out = LocalStore(tmp_path)
    pin(out, run(tmp_path, names="s"))
    assert launched(out) is None
    write(tmp_path, "s", row(0, "x: y"))
    commit_shard(out, "s", 1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    for task in ("10", "11"):
        monkeypatch.setenv("SLURM_JOB_ID", task)
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        tried = retry_failed(out, launched(out))
        assert tried == (["s"] if task == "10" else [])
        write(tmp_path, "s", row(0, "x: y"))
        commit_shard(out, "s", 1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")  # asked for once more
    assert retry_failed(out, launched(out)) == ["s"]
    write(tmp_path, "s", row(0, "x: y"))
    commit_shard(out, "s", 1)
    monkeypatch.setenv("FCS_LAUNCH", "job-1")  # by another launcher, which itself may run in a job of SLURM's
    assert retry_failed(out, launched(out)) == ["s"]
    write(tmp_path, "s", row(0, "x: y"))
    commit_shard(out, "s", 1)
    assert retry_failed(out, launched(out)) == []


def test_long_reopened_shards_are_cut_into_parts(tmp_path: Path) -> None:
    write(tmp_path, "s", *(row(i) if i != 100 else row(i, "x: y") for i in range(200)))
    commit_shard(LocalStore(tmp_path), "s", 200)
    before = (tmp_path / "shards/s.tar").read_bytes()
    reopen(LocalStore(tmp_path), "s")
    expand(LocalStore(tmp_path), "s")
    assert parts.covered_ranges(LocalStore(tmp_path), "s") == [(0, 99), (101, 199)]
    assert len(parts.names(LocalStore(tmp_path), "s")) == 4
    write(tmp_path, "s", row(100, "x: y"))
    commit_shard(LocalStore(tmp_path), "s", 200)
    assert (tmp_path / "shards/s.tar").read_bytes() == before


def test_summary(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path, names="ab"))
    write(tmp_path, "a", row(1), row(2), row(3, "x: y"))
    parts_rows = [row(0), row(1), row(2), row(3, "x: y")]
    write(tmp_path, "b", *parts_rows)
    commit_shard(LocalStore(tmp_path), "b", 4)
    assert summarize(LocalStore(tmp_path)) == {
        "complete": False,
        "records": {"ok": 3, "failed": 1},
        "in_parts": {"ok": 2, "failed": 1},  # of shard a, which is not committed
        "metrics": {
            "psnr": {"mean": 1.0, "n": 3, "low": 0.0, "high": 2.0},
            "residual": {"mean": pytest.approx(0.1), "n": 3, "low": 0.0, "high": pytest.approx(0.2)},
            "ssim": {"mean": 0.5, "n": 2, "low": 0.5, "high": 0.5},
        },
    }
    write(tmp_path, "a", row(0, "x: y"))
    commit_shard(LocalStore(tmp_path), "a", 4)
    assert summarize(LocalStore(tmp_path))["complete"]
    assert summarize(LocalStore(tmp_path))["metrics"]["psnr"]["mean"] == pytest.approx(6 / 5)

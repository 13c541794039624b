"""Output: atomic files, parts, and the merge as a pure function of the parts."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tarfile
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fcs.core.errors import StorageError, UsageError
from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.commit import clean, commit
from fcs.shards.ledger.commit_records import committed, intact
from fcs.shards.ledger.merge import merge
from fcs.shards.ledger.parts import Row, rows_schema
from fcs.shards.ledger.pinned_run import describe, fingerprint, pin
from fcs.shards.ledger.retry import expand, launched, reopen, retry_failed
from fcs.shards.ledger.summary import summarize
from fcs.shards.store.files import replacing, write_exclusive, write_replace
from fcs.shards.store.local import LocalStore


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def row(index: int, error: str | None = None, text: str = "") -> Row:
    if error:
        return Row(index, f"k{index}", error)
    key = f"k{index}"
    members = (
        (f"{key}.json", f'{{"n": {index}}}'.encode()),
        (f"{key}.png", f"{text}{index}".encode() * index),
    )
    scores = {"psnr": float(index), "ssim": None if index == 2 else float("nan") if index == 3 else 0.5}
    feature = {"clip": np.arange(3) + index}
    return Row(index, key, None, 2**62 + index, 20, 0.25, 0.1 * index, scores, members, feature)


def write(out: Path, stem: str, *rows: Row) -> bool:
    return parts.write(LocalStore(out), stem, parts.table(rows, stem, ["ssim", "psnr"], ["clip"], "host", 1))


# Files


def test_exclusive_creation(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_exclusive(path, b"one")
    assert not write_exclusive(path, b"two")
    assert tree(tmp_path) == {"new/file": b"one"}


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    path, won = tmp_path / "file", []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if write_exclusive(path, b"%d" % number * 1000):
            won.append(number)

    threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree(tmp_path) == {"file": b"%d" % won[0] * 1000}
    assert len(won) == 1


def test_replacement_is_whole_or_not_at_all(tmp_path: Path) -> None:
    write_replace(tmp_path / "file", b"one")
    with suppress(RuntimeError), replacing(tmp_path / "file") as file:
        file.write(b"two")
        raise RuntimeError("cut")
    assert tree(tmp_path) == {"file": b"one"}
    write_replace(tmp_path / "file", b"two")
    assert tree(tmp_path) == {"file": b"two"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EPERM])
@pytest.mark.parametrize("write", [write_exclusive, write_replace])
def test_storage_errors_name_path_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object, number: int
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as raised:
        write(tmp_path / "file", b"x")  # type: ignore[operator]
    assert str(raised.value) == f"{tmp_path / 'file'}: {os.strerror(number)}"
    assert raised.value.errno == number
    assert tree(tmp_path) == {}


# The pin


def run(
    tmp_path: Path, limit: int | None = None, mtime: float = 1.5, names: str = "ab", **settings: object
) -> dict[str, object]:
    sources = [Source(f"/in/{name}.tar", name, 10, mtime) for name in names]
    return describe({"steps": 20, "sampler": {"direction": "newton", "sizes": (1, 2)}, **settings}, sources, limit)


def test_pin_and_compare(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path))
    before = tree(tmp_path)
    pin(LocalStore(tmp_path), run(tmp_path))
    moved = run(tmp_path)
    moved["shards"][0]["url"] = "/elsewhere/a.tar"  # type: ignore[index]
    pin(LocalStore(tmp_path), moved)
    for other, expected in [
        (run(tmp_path, steps=30), r"^steps=30: expected 20, as .*run\.json"),
        (
            run(tmp_path, sampler={"direction": "gradient", "sizes": [1, 2]}),
            r"^sampler.direction=gradient: expected newton",
        ),
        (run(tmp_path, sampler={"sizes": [1, 2]}), r"^sampler.direction=\(not set\): expected newton"),
        (run(tmp_path, extra=1), r"^extra=1: expected \(not set\)"),
        (run(tmp_path, limit=5), r"^data.limit=5: expected null"),
        (run(tmp_path, mtime=2.5), r"^data.shards: /in/a.tar changed since .*mtime 1.5 then, 2.5 now"),
        (run(tmp_path, names="abc"), r"^data.shards: c is not in the run"),
        (run(tmp_path, names="a"), r"^data.shards: b is missing"),
    ]:
        with pytest.raises(UsageError, match=expected):
            pin(LocalStore(tmp_path), other)
    assert tree(tmp_path) == before


def test_two_that_pin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: object, target: object) -> None:
        monkeypatch.setattr(os, "link", link)
        pin(LocalStore(tmp_path), run(tmp_path, steps=30))
        link(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(UsageError, match="steps=20: expected 30"):
        pin(LocalStore(tmp_path), run(tmp_path))


def test_fingerprint() -> None:
    assert fingerprint({"a": (1, 2), "b": 1}) == fingerprint({"b": 1, "a": [1, 2]})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        fingerprint({"a": float("nan")})


# Parts


def test_a_part_is_created_once_and_covers_a_run(tmp_path: Path) -> None:
    assert write(tmp_path, "d/s", row(4), row(5))
    assert not write(tmp_path, "d/s", row(4), row(5, "other: x"))
    assert write(tmp_path, "d/s", row(0), row(1))
    assert write(tmp_path, "d/s", row(1), row(2))
    assert parts.names(LocalStore(tmp_path), "d/s") == ["00000000-00000001", "00000001-00000002", "00000004-00000005"]
    assert parts.covered(LocalStore(tmp_path), "d/s") == [(0, 2), (4, 5)]
    assert parts.missing(parts.covered(LocalStore(tmp_path), "d/s"), 1, 8) == [3, 6, 7]
    with pytest.raises(ValueError, match="contiguous"):
        write(tmp_path, "d/s", row(7), row(9))
    assert [[r.index for r in run] for run in parts.contiguous([row(i) for i in (5, 0, 1, 4, 7)])] == [
        [0, 1],
        [4, 5],
        [7],
    ]


def test_columns(tmp_path: Path) -> None:
    assert rows_schema(["b", "a"]).names == [
        *("index", "key", "shard", "status", "error", "seed", "nfe", "seconds", "residual"),
        *("a", "b", "course", "redone", "memory", "host", "attempt"),
    ]
    write(tmp_path, "s", row(0), row(1, "bad_image: x"), row(2), row(3))
    assert commit(LocalStore(tmp_path), "s", 4)
    table = pq.read_table(tmp_path / "metrics/s.parquet").to_pydict()
    assert table["status"] == ["ok", "failed", "ok", "ok"]
    assert table["error"] == [None, "bad_image: x", None, None]
    assert table["seed"] == [2**62, None, 2**62 + 2, 2**62 + 3]
    assert table["ssim"] == [0.5, None, None, None]
    assert table["psnr"] == [0.0, None, 2.0, 3.0]
    assert set(table["shard"]) == {"s"}
    features = pq.read_table(tmp_path / "features/clip/s.parquet")
    assert features.schema.names == ["index", "key", "feature"]
    assert str(features.schema.field("feature").type.value_type) == "halffloat"
    assert features.to_pydict()["index"] == [0, 2, 3]
    assert features.to_pydict()["feature"][1] == [2.0, 3.0, 4.0]


# The merge


def test_commit_needs_all_records(tmp_path: Path) -> None:
    write(tmp_path, "s", row(0), row(1))
    assert not commit(LocalStore(tmp_path), "s", 3)
    assert "shards" not in os.listdir(tmp_path)


def test_a_committed_shard(tmp_path: Path) -> None:
    write(tmp_path, "d/s", row(2), row(3))
    write(tmp_path, "d/s", row(0), row(1, "bad_image: x"))
    (tmp_path / "claims/d/s").mkdir(parents=True)
    (tmp_path / "claims/d/s/000000").write_text("{}")
    (tmp_path / "shards/d").mkdir(parents=True)
    (tmp_path / "shards/d/.s.tar.0.tmp").write_text("left by a killed process")
    assert commit(LocalStore(tmp_path), "d/s", 4, "print", {"card": "none"})
    files = tree(tmp_path)
    assert set(files) == {
        "features/clip/d/s.parquet",
        "metrics/d/s.parquet",
        "shards/d/s.json",
        "shards/d/s.tar",
    }
    assert sorted(os.listdir(tmp_path)) == ["features", "metrics", "shards"]
    record = committed(LocalStore(tmp_path), "d/s")
    assert record is not None
    assert intact(LocalStore(tmp_path), record)
    for name, file in record["files"].items():
        assert file == {"bytes": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
    assert len(record["files"]) == 3
    assert record["counts"] == {"records": 4, "ok": 3, "failed": 1}
    assert record["failures"] == {"bad_image": 1}
    assert (record["fingerprint"], record["card"], record["attempt"]) == ("print", "none", 1)
    with tarfile.open(fileobj=io.BytesIO(files["shards/d/s.tar"])) as tar:
        infos = tar.getmembers()
    assert [info.name for info in infos] == [f"k{i}.{s}" for i in (0, 2, 3) for s in ("json", "png")]
    assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in infos} == {
        (0, 0, 0, "bigdata", "bigdata", 0o444)
    }


def test_bytes_depend_on_the_rows_only(tmp_path: Path) -> None:
    trees = []
    for name, cuts in (
        ("one", [(0, 6)]),
        ("two", [(3, 6), (0, 3)]),
        ("overlap", [(0, 4), (2, 5), (1, 2), (4, 6)]),
    ):
        for first, stop in cuts:
            write(tmp_path / name, "s", *(row(i) for i in range(first, stop)))
        assert commit(LocalStore(tmp_path / name), "s", 6)
        trees.append({k: v for k, v in tree(tmp_path / name).items() if not k.endswith("json")})
    assert trees[0] == trees[1] == trees[2]


def test_where_parts_overlap_the_first_by_name_counts(tmp_path: Path) -> None:
    write(tmp_path, "s", row(1, text="late"), row(2, text="late"))
    write(tmp_path, "s", row(0, text="early"), row(1, text="early"))
    assert commit(LocalStore(tmp_path), "s", 3)
    with tarfile.open(tmp_path / "shards/s.tar") as tar:
        texts = [tar.extractfile(f"k{i}.png").read() for i in range(3)]  # type: ignore[union-attr]
    assert texts == [b"", b"early1", b"late2late2"]


def test_a_part_that_comes_during_the_merge_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two mergers sees another part; both must write what the commit record says."""
    write(tmp_path, "s", row(0), row(1), row(2))
    replace = os.replace

    def other(source: object, target: object) -> None:
        monkeypatch.setattr(os, "replace", replace)
        write(tmp_path, "s", row(0, text="other"), row(1, text="other"))
        monkeypatch.setattr("fcs.shards.ledger.commit.clean", lambda out, stem, *_: out.exists(f"shards/{stem}.json"))
        assert commit(LocalStore(tmp_path), "s", 3)
        monkeypatch.undo()
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", other)
    assert commit(LocalStore(tmp_path), "s", 3)
    record = committed(LocalStore(tmp_path), "s")
    assert record is not None
    tar = (tmp_path / "shards/s.tar").read_bytes()
    assert hashlib.sha256(tar).hexdigest() == record["files"]["shards/s.tar"]["sha256"]
    assert b"other" not in tar
    assert not (tmp_path / "parts").exists()


def test_a_late_merger_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path, "s", row(0), row(1))
    commit(LocalStore(tmp_path), "s", 2)
    before = tree(tmp_path)
    write(tmp_path, "s", row(0, text="other"), row(1, text="other"))
    with pytest.raises(FileNotFoundError, match="committed by another"):
        merge(LocalStore(tmp_path), "s", parts.names(LocalStore(tmp_path), "s"), 2, "", {}, (), ())
    clean(LocalStore(tmp_path), "s")
    assert tree(tmp_path) == before


def test_an_empty_shard_is_committed_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert commit(LocalStore(tmp_path), "s", 0, scores=["psnr"], features=["clip"])
    assert "no records" in caplog.text
    assert pq.read_table(tmp_path / "metrics/s.parquet").schema.names == rows_schema(["psnr"]).names
    with tarfile.open(tmp_path / "shards/s.tar") as tar:
        assert tar.getmembers() == []
    record = committed(LocalStore(tmp_path), "s")
    assert record is not None
    assert record["counts"] == {"records": 0, "ok": 0, "failed": 0}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the file open
def test_results_are_readable_by_webdataset(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write(tmp_path, "s", *(row(i) for i in range(5)))
    commit(LocalStore(tmp_path), "s", 5)
    found = list(webdataset.WebDataset(str(tmp_path / "shards/s.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == [f"k{i}" for i in range(5)]
    assert json.loads(found[3]["json"]) == {"n": 3}


# Again


def test_reopened_shard_keeps_good_results(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path, names="s"))
    write(tmp_path, "s", row(0), row(1), row(2, "x: y"), row(3))
    commit(LocalStore(tmp_path), "s", 4)
    assert retry_failed(LocalStore(tmp_path), before=0.0) == []
    assert retry_failed(LocalStore(tmp_path)) == ["s"]
    assert retry_failed(LocalStore(tmp_path)) == []
    assert parts.attempt(LocalStore(tmp_path), "s") == 2
    expand(LocalStore(tmp_path), "s")
    assert parts.covered(LocalStore(tmp_path), "s") == [(0, 1), (3, 3)]
    assert parts.attempt(LocalStore(tmp_path), "s") == 2
    write(tmp_path, "s", row(2))
    assert commit(LocalStore(tmp_path), "s", 4)
    assert (committed(LocalStore(tmp_path), "s") or {})["attempt"] == 2
    write(tmp_path / "clean", "s", *(row(i) for i in range(4)))
    commit(LocalStore(tmp_path / "clean"), "s", 4)
    for name in ("shards/s.tar", "metrics/s.parquet", "features/clip/s.parquet"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "clean" / name).read_bytes(), name
    assert retry_failed(LocalStore(tmp_path)) == []


def test_tasks_of_one_job_retry_a_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    out = LocalStore(tmp_path)
    pin(out, run(tmp_path, names="s"))
    assert launched(out) is None
    write(tmp_path, "s", row(0, "x: y"))
    commit(out, "s", 1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "9")
    for task in ("10", "11"):
        monkeypatch.setenv("SLURM_JOB_ID", task)
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        tried = retry_failed(out, launched(out))
        assert tried == (["s"] if task == "10" else [])
        write(tmp_path, "s", row(0, "x: y"))
        commit(out, "s", 1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")  # asked for once more
    assert retry_failed(out, launched(out)) == ["s"]


def test_long_reopened_shards_are_cut_into_parts(tmp_path: Path) -> None:
    write(tmp_path, "s", *(row(i) if i != 100 else row(i, "x: y") for i in range(200)))
    commit(LocalStore(tmp_path), "s", 200)
    before = (tmp_path / "shards/s.tar").read_bytes()
    reopen(LocalStore(tmp_path), "s")
    expand(LocalStore(tmp_path), "s")
    assert parts.covered(LocalStore(tmp_path), "s") == [(0, 99), (101, 199)]
    assert len(parts.names(LocalStore(tmp_path), "s")) == 4
    write(tmp_path, "s", row(100, "x: y"))
    commit(LocalStore(tmp_path), "s", 200)
    assert (tmp_path / "shards/s.tar").read_bytes() == before


def test_summary(tmp_path: Path) -> None:
    pin(LocalStore(tmp_path), run(tmp_path, names="ab"))
    write(tmp_path, "a", row(1), row(2), row(3, "x: y"))
    parts_rows = [row(0), row(1), row(2), row(3, "x: y")]
    write(tmp_path, "b", *parts_rows)
    commit(LocalStore(tmp_path), "b", 4)
    assert summarize(LocalStore(tmp_path)) == {
        "complete": False,
        "records": {"ok": 3, "failed": 1},
        "metrics": {
            "psnr": {"mean": 1.0, "n": 3, "low": 0.0, "high": 2.0},
            "residual": {"mean": pytest.approx(0.1), "n": 3, "low": 0.0, "high": pytest.approx(0.2)},
            "ssim": {"mean": 0.5, "n": 2, "low": 0.5, "high": 0.5},
        },
    }
    write(tmp_path, "a", row(0, "x: y"))
    commit(LocalStore(tmp_path), "a", 4)
    assert summarize(LocalStore(tmp_path))["complete"]
    assert summarize(LocalStore(tmp_path))["metrics"]["psnr"]["mean"] == pytest.approx(6 / 5)

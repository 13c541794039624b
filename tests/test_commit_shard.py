"""Committing a shard: a pure function of its parts, whoever does it and however often."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers.parts import row, tree, write

from fcs.shards.ledger import parts
from fcs.shards.ledger.commit_records import files_match, read_commit
from fcs.shards.ledger.commit_shard import clean_up, commit_shard
from fcs.shards.ledger.merge_parts import merge_parts
from fcs.shards.ledger.result_rows import rows_schema
from fcs.shards.store.local import LocalStore


def test_commit_needs_all_records(tmp_path: Path) -> None:
    write(tmp_path, "s", row(0), row(1))
    assert not commit_shard(LocalStore(tmp_path), "s", 3)
    assert "shards" not in os.listdir(tmp_path)


def test_a_committed_shard(tmp_path: Path) -> None:
    write(tmp_path, "d/s", row(2), row(3))
    write(tmp_path, "d/s", row(0), row(1, "bad_image: x"))
    (tmp_path / "claims/d/s").mkdir(parents=True)
    (tmp_path / "claims/d/s/000000").write_text("{}")
    (tmp_path / "shards/d").mkdir(parents=True)
    (tmp_path / "shards/d/.s.tar.0.tmp").write_text("left by a killed process")
    assert commit_shard(LocalStore(tmp_path), "d/s", 4, "print", {"card": "none"})
    files = tree(tmp_path)
    assert set(files) == {
        "features/clip/d/s.parquet",
        "metrics/d/s.parquet",
        "shards/d/s.json",
        "shards/d/s.tar",
    }
    assert sorted(os.listdir(tmp_path)) == ["features", "metrics", "shards"]
    record = read_commit(LocalStore(tmp_path), "d/s")
    assert record is not None
    assert files_match(LocalStore(tmp_path), record)
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
        assert commit_shard(LocalStore(tmp_path / name), "s", 6)
        trees.append({k: v for k, v in tree(tmp_path / name).items() if not k.endswith("json")})
    assert trees[0] == trees[1] == trees[2]


def test_where_parts_overlap_the_first_by_name_counts(tmp_path: Path) -> None:
    write(tmp_path, "s", row(1, text="late"), row(2, text="late"))
    write(tmp_path, "s", row(0, text="early"), row(1, text="early"))
    assert commit_shard(LocalStore(tmp_path), "s", 3)
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
        monkeypatch.setattr(
            "fcs.shards.ledger.commit_shard.clean_up", lambda out, stem, *_: out.exists(f"shards/{stem}.json")
        )
        assert commit_shard(LocalStore(tmp_path), "s", 3)
        monkeypatch.undo()
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", other)
    assert commit_shard(LocalStore(tmp_path), "s", 3)
    record = read_commit(LocalStore(tmp_path), "s")
    assert record is not None
    tar = (tmp_path / "shards/s.tar").read_bytes()
    assert hashlib.sha256(tar).hexdigest() == record["files"]["shards/s.tar"]["sha256"]
    assert b"other" not in tar
    assert not (tmp_path / "parts").exists()


def test_a_late_merger_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path, "s", row(0), row(1))
    commit_shard(LocalStore(tmp_path), "s", 2)
    before = tree(tmp_path)
    write(tmp_path, "s", row(0, text="other"), row(1, text="other"))
    with pytest.raises(FileNotFoundError, match="committed by another"):
        merge_parts(LocalStore(tmp_path), "s", parts.names(LocalStore(tmp_path), "s"), 2, "", {}, (), ())
    clean_up(LocalStore(tmp_path), "s")
    assert tree(tmp_path) == before


def test_an_empty_shard_is_committed_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert commit_shard(LocalStore(tmp_path), "s", 0, scores=["psnr"], features=["clip"])
    assert "no records" in caplog.text
    assert pq.read_table(tmp_path / "metrics/s.parquet").schema.names == rows_schema(["psnr"]).names
    with tarfile.open(tmp_path / "shards/s.tar") as tar:
        assert tar.getmembers() == []
    record = read_commit(LocalStore(tmp_path), "s")
    assert record is not None
    assert record["counts"] == {"records": 0, "ok": 0, "failed": 0}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves the file open
def test_results_are_readable_by_webdataset(tmp_path: Path) -> None:
    write(tmp_path, "s", *(row(i) for i in range(5)))
    commit_shard(LocalStore(tmp_path), "s", 5)
    found = list(wds.WebDataset(str(tmp_path / "shards/s.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in found] == [f"k{i}" for i in range(5)]
    assert json.loads(found[3]["json"]) == {"n": 3}

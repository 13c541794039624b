"""How fcs-pack ends early: mistakes, full disks and signals leave nothing behind."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.pack_sources import (
    encoded,
    write_dataset,
    write_jsonl,
    write_pictures,
)

from fcs.core.errors import Interrupted
from fcs.tools.cli.pack import main
from fcs.tools.pack.record_members import record_members
from fcs.tools.pack.source_record import SourceRecord
from fcs.tools.pack.write_shards import pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def mistakes(folder: Path) -> Iterator[tuple[list[str], str]]:
    text, table, dataset = folder / "notes.pdf", write_jsonl(folder), write_dataset(folder)
    yield [], "SOURCE"
    yield ["nowhere", "out"], "SOURCE=nowhere"
    yield [str(text), "out"], "a folder, a dataset on disk or a table"
    yield [str(folder), "out", "more"], "SOURCE=out"
    yield [str(folder), "out", "--limits", "3"], "did you mean --limit?"
    yield [str(folder), "out", "--mask", "bx"], "did you mean box?"
    yield [str(folder), "out", "--mask", "box", "--fraction", "1"], "--fraction=1"
    yield [str(folder), "out", "--fraction", ".5"], "--fraction=.5"
    yield [str(folder), "out", "--size", "3x"], "--size=3x"
    yield [str(folder), "out", "--limit", "0"], "--limit=0"
    yield [str(folder), "out", "--seed", "-1"], "--seed=-1"
    yield [str(folder), "out", "--records-per-shard", "0"], "--records-per-shard=0"
    yield [str(folder), "out", "--split", "train"], "--split=train"
    yield [str(folder), "out", "--key-column", "id"], "--key-column=id"
    yield [str(table), "out", "--mask", "box", "--mask-column", "mask"], "--mask-column=mask"
    yield [str(folder), str(folder)], "an empty folder"
    yield [str(folder), str(text)], "it is a file"
    yield [str(table), "out", "--image-column", "imag"], "did you mean image?"
    (folder / "other.jsonl").write_text('{"a": 1}')
    yield [str(folder / "other.jsonl"), "out"], "--image-column"
    (folder / "empty.csv").write_text("")
    yield [str(folder / "empty.csv"), "out"], "empty.csv"
    (folder / "broken.parquet").write_bytes(b"PAR1")
    yield [str(folder / "broken.parquet"), "out"], "a Parquet file"
    (folder / "latin.csv").write_bytes(b"image\n" + b"\xe9" * 9)
    yield [str(folder / "latin.csv"), "out"], "latin.csv"
    second = dataset / "data-00001-of-00002.arrow"
    second.write_bytes(second.read_bytes()[:-300])
    yield [str(dataset), "out"], second.name
    second.unlink()
    yield [str(dataset), "out"], second.name
    (folder.parent / "none").mkdir()
    yield [str(folder.parent / "none"), "out"], "there are none"


def test_mistakes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for arguments, expected in mistakes(folder):
        assert main(arguments) == 2, arguments
        said = capsys.readouterr()
        assert said.out == "" or "image: image, prompt: prompt" in said.out  # tables that break off later on
        assert said.err.startswith("fcs-pack: ")
        assert said.err.count("\n") == 1, said.err
        assert expected in said.err
        assert list(here.iterdir()) == [], arguments


def test_what_a_killed_pack_left_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), str(tmp_path / "out")]) == 0
    (tmp_path / "out" / "sizes.json").unlink()
    capsys.readouterr()
    assert main([str(folder), str(tmp_path / "out")]) == 2
    assert "delete it" in capsys.readouterr().err


def test_shards_appear_one_by_one_and_nothing_stays_of_a_stopped_pack(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []

    def records() -> Iterator[SourceRecord]:
        for number in range(7):
            seen.append(sorted(path.name for path in out.iterdir()) if out.exists() else [])
            yield SourceRecord(str(number), str(number), encoded(number))

    def stop() -> None:
        if len(seen) == 7:
            raise Interrupted("asked to")

    with pytest.raises(Interrupted):
        pack(records(), out, per_shard=3, check=stop)
    assert [len([name for name in names if name.endswith(".tar")]) for names in seen] == [0, 0, 0, 1, 1, 1, 2]
    assert all("sizes.json" not in names for names in seen)
    assert not out.exists()
    out.mkdir()
    seen.clear()
    with pytest.raises(Interrupted):
        pack(records(), out, per_shard=3, check=stop)
    assert list(out.iterdir()) == []


def test_a_full_disk(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    syncs = itertools.count()

    def sync(handle: int) -> None:
        if next(syncs) == 3:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", sync)
    assert main([str(folder), str(tmp_path / "out"), "--records-per-shard", "2"]) == 74
    said = capsys.readouterr().err
    assert "000001.tar" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_signal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def signalled(*given: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return record_members(*given)

    monkeypatch.setattr("fcs.tools.pack.write_shards.record_members", signalled)
    assert main([str(folder), str(tmp_path / "o")]) == 75
    assert "SIGTERM" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()

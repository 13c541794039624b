"""Whatever is broken becomes its own row, and nothing else changes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.broken_input import CLEAN, END, KINDS, SIDE, TORN, Rows, around, good

from fcs.core.records import Record
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.tools.cli.predict import main

FORM = Format(1, SIDE, SIDE, needs_mask=True)
EVERY = 4  # kinds between two good records of the one run


def read(folder: Path, data: bytes, suffix: str = "tar") -> list[Record]:
    path = folder / f"shard.{suffix}"
    path.write_bytes(data)
    with ShardReader(resolve(str(path))[0], FORM) as reader:
        return [reader.record(number) for number in range(len(reader))]


def rows(found: list[Record]) -> Rows:
    return [(record.key, record.error and record.error.partition(":")[0]) for record in found]


def assert_same(found: Record, clean: Record) -> None:
    for name in ("image", "mask"):
        assert torch.equal(getattr(found, name), getattr(clean, name)), (found.key, name)
    for name in ("key", "prompt", "extra", "seed", "error"):
        assert getattr(found, name) == getattr(clean, name)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    found = read(tmp_path_factory.mktemp("clean"), CLEAN)
    assert rows(found) == [(key, None) for key in "abyz"]
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_broken_record_is_its_own_row_and_nothing_else(name: str, tmp_path: Path, clean: list[Record]) -> None:
    kind = KINDS[name]
    found = read(tmp_path, around(kind.blocks))
    assert rows(found[2:-2]) == kind.rows
    assert [record.index for record in found] == list(range(len(found)))
    for record, same in zip((*found[:2], *found[-2:]), clean, strict=True):
        assert_same(record, same)
    for record in found[2:-2]:
        assert record.error is None or record.error.isprintable()
        assert (record.image is None) == (record.error is not None)


@pytest.mark.parametrize("name", TORN)
def test_a_torn_shard_gives_its_whole_records_and_one_row(name: str, tmp_path: Path, clean: list[Record]) -> None:
    (suffix, data), keys = TORN[name]
    found = read(tmp_path, data, suffix)
    assert rows(found) == [*((key, None) for key in keys), (None, "truncated")]
    assert str(found[-1].error).isprintable()
    for record, same in zip(found[:-1], clean, strict=False):
        if name != "cut in an optional member" and name != "cut after the required members":
            assert_same(record, same)
        assert torch.equal(record.image, same.image)  # type: ignore[arg-type]


def members(out: Path) -> dict[str, bytes]:
    with tarfile.open(out / "shards" / "zoo.tar") as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def test_the_whole_zoo_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo, plain, expected = b"", b"", []
    for number, kind in enumerate(KINDS.values()):
        shared = b"" if number % EVERY else good(f"good{number}", number)
        zoo += shared + kind.blocks
        plain += shared + b"".join(good(f"other{number}-{i}", i) for i in range(len(kind.rows)))
        expected += [(f"good{number}", None)] * bool(shared) + kind.rows
    torn = good("torn", 0)
    made = {"zoo": zoo + torn[:600], "plain": plain + torn + END}
    outs = {}
    for name, data in made.items():
        shard, outs[name] = tmp_path / name / "zoo.tar", tmp_path / f"{name}-out"
        shard.parent.mkdir()
        shard.write_bytes(data)
        command = ["--config", "digits_inpaint", f"data.shards={shard}", f"out={outs[name]}", "steps=1"]
        assert main([*command, "sampler=ddim", "previews.max=0"]) == (3 if name == "zoo" else 0)
        told = capsys.readouterr().err
        assert "\x1b" not in told.replace("\x1b[A", "")
        assert all(line.isprintable() for line in told.split("failed: ")[-1].splitlines())
    table = pq.read_table(outs["zoo"] / "metrics" / "zoo.parquet").to_pylist()
    found = [(row["key"], row["error"] and row["error"].partition(":")[0]) for row in table]
    assert found == [*expected, (None, "truncated")]
    assert all((row["status"] == "ok") == (row["error"] is None) for row in table)
    ours, theirs = members(outs["zoo"]), members(outs["plain"])
    assert {name.rpartition(".")[0] for name in ours} == {key for key, code in expected if code is None}
    for number in range(0, len(KINDS), EVERY):
        for suffix in ("png", "json"):
            assert ours[f"good{number}.{suffix}"] == theirs[f"good{number}.{suffix}"]

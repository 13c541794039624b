"""fcs-pack on tables and datasets: columns by role, rows that are none, splits."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.pack_sources import (
    SOURCES,
    contents,
    encoded,
    mask,
    readable,
    write_dataset,
    write_pictures,
)

from fcs.tools.cli.pack import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


@pytest.mark.parametrize("kind", SOURCES)
def test_tables(kind: str, folder: Path, tmp_path: Path) -> None:
    source = SOURCES[kind](folder)
    assert main([str(source), str(tmp_path / "out")]) == 0
    assert readable(tmp_path / "out") == 3
    found = contents(tmp_path / "out")
    assert list(found) == ["a", "c", "in_ner/d"]
    classes: list[object] = ["3", "4", "5"] if kind == "csv" else [3, 4, 5]
    assert [json.loads(record["json"])["class"] for record in found.values()] == classes
    assert [json.loads(record["json"]).get("seed") for record in found.values()] == [7, None, 2**62]
    assert found["a"]["png"] == encoded(0)
    assert found["a"]["mask.png"] == mask(0)
    assert found["a"]["txt"] == b"red apple"
    assert list(found["c"]) == ["webp", "json"]
    assert "txt" not in found["in_ner/d"]  # an empty caption is none


def test_columns_of_unusual_names(folder: Path, tmp_path: Path) -> None:
    table = folder / "t.jsonl"
    rows = [{"pic": "a.png", "say": "x", "nr": "one.1", "no": "5"}, {"pic": "a.png", "say": "y", "nr": "one_1"}]
    table.write_text("\n".join(map(json.dumps, rows)))
    columns = ["--image-column=pic", "--prompt-column=say", "--key-column=nr", "--seed-column=no"]
    assert main([str(table), str(tmp_path / "out"), *columns]) == 0
    found = contents(tmp_path / "out")
    assert [record["txt"] for record in found.values()] == [b"x", b"y"]
    assert json.loads(found["one_1"]["json"]) == {"nr": "one.1", "seed": 5}
    assert "json" not in found["one_1-2"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("commas.csv", "image,prompt\na.png,red, round\n", "another number of cells than the header has"),
        ("list.jsonl", '[{"image": "a.png"}, {"image": "c.webp"}]\n', "no JSON object"),
    ],
)
def test_a_table_of_which_no_row_can_be_read_says_why(
    name: str, text: str, reason: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(text)
    assert main([str(folder / name), str(tmp_path / "out")]) == 2
    expected = f"{name}: expected a table with named columns and a row (record 1: {reason})\n"
    assert capsys.readouterr().err.endswith(expected)


def test_a_column_of_bytes_alone(tmp_path: Path) -> None:
    odd = {"when": pa.array([0], pa.timestamp("s")), "score": [float("nan")], "thumb": [b"\0"], "list": [[1, None]]}
    rows = pa.table({"content": [encoded(0)], **odd})
    pq.write_table(rows, tmp_path / "t.parquet")
    assert main([str(tmp_path / "t.parquet"), str(tmp_path / "out"), "--image-column=content"]) == 0
    (key, record), *_ = contents(tmp_path / "out").items()
    assert key == "00000000"
    assert json.loads(record["json"]) == {"when": "1970-01-01 00:00:00", "score": None, "list": [1, None]}


def test_rows_that_are_none(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "t.jsonl"
    rows = ['{"image": "a.png"}', "{", "[]", '{"image": null}', '{"image": "none.png"}', '{"image": "a\\u0000.png"}']
    table.write_text("\n".join([*rows, '{"image": "a.png", "seed": -1}', '{"image": "in.ner"}']))
    assert main([str(table), str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "1 record, 7 left out" in said.out
    assert [f"record {number}" in line for number, line in enumerate(said.err.splitlines(), 2)] == [True] * 7
    (folder / "t.csv").write_text("image,x\na.png,1\na.png\na.png,1,2\n")
    assert main([str(folder / "t.csv"), str(tmp_path / "more")]) == 3
    assert "1 record, 2 left out" in capsys.readouterr().out


OPEN_QUOTES = {
    "open.csv": 'image,prompt\na.png,one\na.png,"two\na.png,three\n',
    "closed_by_another.csv": 'image,prompt\na.png,one\na.png,"two\na.png,"three"\n',
    "bare.tsv": 'image\tprompt\na.png\tone\na.png\t"two" three\n',
}


@pytest.mark.parametrize("name", OPEN_QUOTES)
def test_a_quote_that_is_not_closed_swallows_no_rows(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text(OPEN_QUOTES[name])
    assert main([str(folder / name), str(tmp_path / "out")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{name}: expected a table that is whole (row at line 3: " in said
    assert "a quote that is not closed" in said
    assert not (tmp_path / "out").exists()


def test_names_that_stand_twice_in_a_table_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.csv").write_text("image,prompt,prompt\na.png,one,two\n")
    twice = pa.table([[encoded(0)], ["one"], ["two"]], names=["image", "prompt", "prompt"])
    pq.write_table(twice, folder / "t.parquet")
    for table in (folder / "t.csv", folder / "t.parquet"):
        assert main([str(table), str(tmp_path / "out")]) == 2
        assert "columns have different names; prompt stands twice" in capsys.readouterr().err
    (folder / "t.jsonl").write_text('{"image": "a.png"}\n{"image": "a.png", "prompt": "one", "prompt": "two"}\n')
    assert main([str(folder / "t.jsonl"), str(tmp_path / "out")]) == 3
    assert "record 2: no JSON: a key stands twice" in capsys.readouterr().err
    (folder / "spreadsheet.csv").write_text("image,prompt,,\na.png,one,,\n")
    assert main([str(folder / "spreadsheet.csv"), str(tmp_path / "more")]) == 0


def test_splits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test"):
        write_dataset(folder, f"both/{name}")
    both = tmp_path / "both"
    (both / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert main([str(both), str(tmp_path / "out"), "--split", "test"]) == 0
    assert readable(tmp_path / "out") == 3
    capsys.readouterr()
    for given, expected in {"": "train, test", "tes": "did you mean test?"}.items():
        assert main([str(both), str(tmp_path / "no"), *(["--split", given] if given else [])]) == 2
        assert expected in capsys.readouterr().err

"""What the columns and cells of a table say to fcs-pack."""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.pack_sources import contents, encoded, mask

from fcs.core.errors import UsageError
from fcs.shards.input.cell_values import Captions
from fcs.tools.cli.pack import main
from fcs.tools.pack.open_source import Reading, open_source
from fcs.tools.pack.source_record import SourceRecord
from fcs.tools.pack.table_columns import column_roles

NAN = float("nan")


def read(path: Path | list[Path], **how: Any) -> list[SourceRecord]:
    return list(open_source(path, Reading(**how)))


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("image,prompt,mask", {"image": "image", "prompt": "prompt", "mask": "mask"}),
        ("Image,Prompt,MASK ", {"image": "Image", "prompt": "Prompt", "mask": "MASK "}),
        ("image, prompt", {"image": "image", "prompt": " prompt"}),
        ("mask.png,png,txt,__key__", {"image": "png", "mask": "mask.png", "prompt": "txt", "key": "__key__"}),
        ("Image,image", {"image": "image"}),
        ("Image,path", {"image": "path"}),  # a name as it is goes before one that is like it
        ("depth,webp", {"image": "webp"}),
    ],
)
def test_usual_names(names: str, expected: dict[str, str]) -> None:
    assert column_roles({}, names.split(","), [name for name in names.split(",") if "." in name]) == expected


def test_names_that_the_user_gives() -> None:
    assert column_roles({"image": "scene "}, ["a", "Scene"]) == {"image": "Scene"}
    assert column_roles({"mask": "png", "image": "x"}, ["png", "x"]) == {"mask": "png", "image": "x"}
    with pytest.raises(UsageError, match="--image-column=SCENE"):
        column_roles({"image": "SCENE"}, ["scene", "Scene"])


def test_of_several_pictures_none_is_guessed() -> None:
    with pytest.raises(UsageError, match="--image-column: expected one of annotation, scene"):
        column_roles({}, ["id", "annotation", "scene"], ["annotation", "scene"])
    assert column_roles({}, ["mask", "scene"], ["mask", "scene"]) == {"mask": "mask", "image": "scene"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a seven", "a seven"),
        (["a seven", "digit 7"], "a seven"),
        (("", None, NAN, "digit 7"), "digit 7"),
        ('["a seven", "digit 7"]', "a seven"),
        ("['it\\'s a seven', 'digit 7']", "it's a seven"),
        ("[a seven]", "[a seven]"),
        ("[1, 2]", "[1, 2]"),
        ([{"caption": "a seven", "id": 3}, {"caption": "digit 7"}], "a seven"),
        ({"raw": "a seven", "tokens": ["a", "seven"]}, "a seven"),
        ({"text": ["a seven", "digit 7"]}, "a seven"),
        ("sieben ☃".encode(), "sieben ☃"),
        (7, "7"),
        (date(2020, 1, 2), "2020-01-02"),
        *((nothing, None) for nothing in (None, NAN, "", " \n", [], [None, ""], b"", {}, {"text": None})),
    ],
)
def test_captions(value: object, expected: str | None) -> None:
    assert Captions().choose(value, "key") == expected


@pytest.mark.parametrize("value", [b"\xff\xfe", {"en": "a seven"}, [{"id": 1}], [[[[["deep"]]]]], ["a", b"\xff"]])
def test_what_is_no_caption_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected text or a list of texts|no UTF-8"):
        Captions().choose(value, "key")


def test_which_caption() -> None:
    five = [f"caption {number}" for number in range(1, 6)]
    assert Captions(3).choose(five, "a") == "caption 3"
    with pytest.raises(ValueError, match="captions: 5, number 6 is asked for"):
        Captions(6).choose(five, "a")
    by_key = [Captions(None, 0).choose(five, str(key)) for key in range(40)]
    assert set(by_key) == set(five)
    assert by_key == [Captions(None, 0).choose(five, str(key)) for key in range(40)]
    assert by_key != [Captions(None, 1).choose(five, str(key)) for key in range(40)]


def test_columns_met_late_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(encoded(0))
    rows: list[dict[str, Any]] = [{"Image": "a.png"}] * 150
    table = jsonl(tmp_path / "t.jsonl", *rows, {"Image": "a.png", "Prompt": ["late"], "class": 3, "mask": NAN})
    assert main([str(table), str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "image: Image, prompt: Prompt, mask: mask, key: none, seed: none; KEY.json: class\n" in said
    last = list(contents(tmp_path / "out").values())[-1]
    assert last == {"png": encoded(0), "txt": b"late", "json": b'{"class": 3}'}


def test_spaces_after_commas_and_tabs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('image, mask, prompt\na.png, m.png, "one, two"\n')
    (tmp_path / "t.tsv").write_text("Image\tprompt\na.png\tone, two\n")
    for record in (*read(tmp_path / "t.csv"), *read(tmp_path / "t.tsv")):
        assert (record.image, record.prompt) == (tmp_path / "a.png", b"one, two")
    assert read(tmp_path / "t.csv")[0].mask == tmp_path / "m.png"


def test_lists_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = ({"bytes": encoded(number), "path": f"{number}.png"} for number in (0, 1))
    columns = {"png": [encoded(0)] * 2, "mask": [[mask(0)], [mask(0)] * 2], "views": [[one, two], [one]]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert main([str(tmp_path / "t.parquet"), str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "left out: views (bytes)" in said.out
    assert "record 2: column mask: a list of 2, expected a path or the bytes of one picture" in said.err
    assert contents(tmp_path / "out") == {"00000000": {"png": encoded(0), "mask.png": mask(0)}}
    by_views = read(tmp_path / "t.parquet", columns={"image": "views"})
    assert [record.error for record in by_views] == [
        "column views: a list of 2, expected a path or the bytes of one picture",
        "column mask: a list of 2, expected a path or the bytes of one picture",
    ]


def test_pictures_in_base64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = base64.b64encode(encoded(0)).decode()
    table = jsonl(
        tmp_path / "t.jsonl", {"image": text}, {"image": f"data:image/png;base64,{text}"}, {"image": text[:-9]}
    )
    assert [record.image for record in read(table)][:2] == [encoded(0)] * 2
    jsonl(table, {"image": text, "mask": "x" + text}, {"image": "y/" * 3000 + "z.png"})
    assert main([str(table), str(tmp_path / "out")]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(len(line) < 500 and "record" in line for line in lines)


def test_a_home_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    jsonl(tmp_path / "t.jsonl", {"image": "~/in/a.png"}, {"image": "~b.png"})
    first, second = read(Path("~/t.jsonl"))
    assert (first.image, first.key) == (tmp_path / "in/a.png", "a")
    assert second.image == tmp_path / "~b.png"


def test_several_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "repo" / "data"
    (data / ".cache").mkdir(parents=True)
    (tmp_path / "repo" / "README.md").write_text("")
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        rows = pa.table({"Image": [encoded(number)], "n": [f"{split} {number}"]})
        pq.write_table(rows, data / f"{split}-{number:05d}-of-00002.parquet")
    train = sorted(data.glob("train-*"))
    for source in (train, Path(f"{data}/train-*.parquet")):
        records = read(source)
        assert [record.key for record in records] == ["00000000", "00000001"]
        assert [json.loads(record.facts or b"")["n"] for record in records] == ["train 0", "train 1"]
        assert records[1].name == f"{train[1]}, record 1"
    assert [len(read(tmp_path / "repo", split=split)) for split in ("train", "test")] == [2, 1]
    arguments = [*map(str, train), str(tmp_path / "out"), "--limit", "2"]
    assert main(arguments) == 0
    assert "2 tables" in capsys.readouterr().out
    for source, expected in {
        tmp_path / "repo": "--split: expected one of test, train",
        Path(f"{data}/valid-*"): "a glob that matches tables",
    }.items():
        with pytest.raises(UsageError, match=expected):
            read(source)
    with pytest.raises(UsageError, match="one of several sources"):
        read([train[0], data])
    (data / "more.csv").write_text("image\n")
    with pytest.raises(UsageError, match="tables of one kind"):
        read(tmp_path / "repo")

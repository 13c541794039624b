"""Parquet tables of pictures as shards: rows are records, whatever is wrong with one is its own error."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fcs.core.errors import StorageError, UsageError
from fcs.core.records import Record
from fcs.shards.input import table_shard
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source, resolve
from fcs.tools.cli.predict import main as predict

FORM = Format(3, 4, 4)
MASKED = Format(3, 4, 4, needs_mask=True)


def png(value: int, size: int = 4, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (value, value, value)).save(buffer, kind)
    return buffer.getvalue()


def table(path: Path, columns: dict[str, list[Any]], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def records(path: Path | str, form: Format = FORM) -> list[Record]:
    (source,) = resolve(str(path))
    with ShardReader(source, form) as reader:
        return [reader.record(number) for number in range(len(reader))]


def images(count: int) -> list[dict[str, Any]]:
    return [{"bytes": png(10 * number), "path": f"{number}.png"} for number in range(count)]


def test_a_table_of_the_hub(tmp_path: Path) -> None:
    columns = {
        "image": images(5),
        "mask": [{"bytes": png(255), "path": None}] * 5,
        "text": ["a", "b", None, "", "ä"],
        "label": [0, 1, 2, 3, 4],
        "score": [0.5, None, float("nan"), 1.0, 2.0],
        "thumbnail": [b"x"] * 5,
    }
    found = records(table(tmp_path / "train-00000-of-00001.parquet", columns, row_group_size=2), MASKED)
    assert [record.key for record in found] == [f"{number:08d}" for number in range(5)]
    assert [record.error for record in found] == [None] * 5
    assert [record.prompt for record in found] == ["a", "b", None, None, "ä"]
    assert [record.extra for record in found[:3]] == [
        {"label": 0, "score": 0.5},
        {"label": 1, "score": None},
        {"label": 2, "score": None},
    ]
    for number, record in enumerate(found):
        assert record.image is not None
        assert record.mask is not None
        assert int(record.image.min()) == int(record.image.max()) == 10 * number
        assert int(record.mask.min()) == 255


def test_rows_in_any_order_and_all_threads_alike(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", {"image": images(9)}, row_group_size=2)
    with ShardReader(resolve(str(path))[0], FORM) as reader:
        for number in np.random.default_rng(0).permutation(9).tolist() * 2:
            image = reader.record(number).image
            assert image is not None
            assert int(image.max()) == 10 * number
        with pytest.raises(IndexError):
            reader.record(9)


@pytest.mark.parametrize("name", ["key", "__key__", "id", "ID"])
def test_keys(tmp_path: Path, name: str) -> None:
    keys = ["a", "b.c/d", "a", "../x", None, ""]
    found = records(table(tmp_path / "t.parquet", {"image": images(6), name: keys}))
    assert [record.key for record in found] == ["a", "b_c/d", "a-2", "x", "00000004", "00000005"]
    assert found[1].extra == {name: "b.c/d"}  # as it was
    numbers = records(table(tmp_path / "u.parquet", {"image": images(2), name: [7, 8]}))
    assert [record.key for record in numbers] == ["7", "8"]


def test_seeds_and_plain_bytes(tmp_path: Path) -> None:
    found = records(table(tmp_path / "t.parquet", {"jpg": [png(9, kind="jpeg")] * 2, "seed": [5, -1]}))
    assert (found[0].error, found[0].seed) == (None, 5)
    assert (found[1].error or "").startswith("bad_seed: ")


def test_a_bad_cell_is_a_row(tmp_path: Path) -> None:
    cells = [
        {"bytes": png(1), "path": None},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": b"nothing", "path": None},
        None,
        {"bytes": png(1, size=5), "path": None},
        {"bytes": b"", "path": None},
    ]
    found = records(table(tmp_path / "t.parquet", {"image": cells}))
    codes = [(record.error or "").partition(":")[0] for record in found]
    assert codes == ["", "missing_image", "bad_image", "missing_image", "image_size", "missing_image"]
    assert "its path is not followed" in (found[1].error or "")
    assert records(table(tmp_path / "u.parquet", {"image": images(1)}), MASKED)[0].error == "missing_mask: no mask.png"


@pytest.mark.parametrize("columns", [{"a": [1, 2]}, {"image": ["a.png", "b.png"]}, {"x": [b"1"] * 2, "y": [b"2"] * 2}])
def test_no_column_of_pictures(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    path = table(tmp_path / "t.parquet", columns)
    with ShardReader(resolve(str(path))[0], FORM) as reader:
        (remark,) = reader.index.remarks
        assert ", ".join(columns) in remark
        assert reader.record(1).error == "missing_image: the table has no column of pictures"


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no table at all" * 9])
def test_a_file_that_is_no_table(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(data)
    (found,) = records(tmp_path / "t.parquet")
    assert found.key is None
    assert (found.error or "").startswith("truncated: no whole Parquet file")


def test_damage_costs_its_row_group(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", {"image": images(6)}, row_group_size=2, compression="snappy")
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = group.dictionary_page_offset or group.data_page_offset
    data[start : start + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    path.write_bytes(data)
    codes = [(record.error or "").partition(":")[0] for record in records(path)]
    assert codes == ["", "", "bad_table", "bad_table", "", ""]


def test_a_row_group_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "t.parquet", {"image": images(2)})
    monkeypatch.setattr(table_shard, "MAX_GROUP_BYTES", 10)
    assert [(record.error or "")[:10] for record in records(path)] == ["too_large:"] * 2


def test_an_empty_table(tmp_path: Path) -> None:
    assert records(table(tmp_path / "t.parquet", {"image": pa.array([], pa.binary())})) == []


def test_a_table_elsewhere() -> None:
    """By fsspec's files, of which only what is needed is read."""
    url = f"memory://{uuid.uuid4().hex}/t.parquet"
    with fsspec.open(url, "wb") as file:
        pq.write_table(pa.table({"image": images(3)}), file)
    assert [record.error for record in records(url)] == [None] * 3


def test_a_table_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"t\.parquet"):
        ShardReader(Source(str(tmp_path / "t.parquet"), "t", 1, 1.0), FORM)


def test_globs_prefer_tars(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", {"image": images(1)})
    assert [source.stem for source in resolve(str(tmp_path / "*"))] == ["a"]
    (tmp_path / "b.tar").write_bytes(bytes(10240))
    assert [source.stem for source in resolve(str(tmp_path / "*"))] == ["b"]
    both = resolve([str(tmp_path / "*.parquet"), str(tmp_path / "*.tar")])
    assert [source.stem for source in both] == ["a", "b"]
    (tmp_path / "a.tar").write_bytes(bytes(10240))
    with pytest.raises(UsageError, match="one shard of that name"):
        resolve([str(tmp_path / "*.parquet"), str(tmp_path / "*.tar")])


def test_a_run_over_a_table(tmp_path: Path) -> None:
    """Its records' own columns come out again, and whoever computes them, the bytes are the same."""
    digits = [{"bytes": grey(number), "path": None} for number in range(5)]
    digits[3] = {"bytes": b"torn", "path": None}
    masks = [{"bytes": grey(255), "path": None}] * 5
    path = table(tmp_path / "t.parquet", {"image": digits, "mask": masks, "id": list("abcde"), "label": [1] * 5})
    tars = []
    for out, size in (("one", "2"), ("two", "2")):
        words = ["--config", "digits_inpaint", f"data.shards={path}", f"out={tmp_path / out}", "steps=1"]
        assert predict([*words, f"data.batch_size={size}", "previews.max=0"]) == 3
        tars.append((tmp_path / out / "shards" / "t.tar").read_bytes())
    assert tars[0] == tars[1]
    rows = pq.read_table(tmp_path / "one" / "metrics" / "t.parquet").to_pylist()
    assert [row["key"] for row in rows] == list("abcde")
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "failed", "ok"]
    assert json.dumps({"label": 1}).encode()[1:-1] in tars[0].replace(b'"label":1', b'"label": 1')


def grey(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16), value).save(buffer, "png")
    return buffer.getvalue()


def test_a_column_that_stands_twice_is_not_guessed(tmp_path: Path) -> None:
    twice = pa.table([[png(0)], ["one"], ["two"]], names=["image", "text", "text"])
    pq.write_table(twice, tmp_path / "t.parquet")
    (found,) = records(tmp_path / "t.parquet")
    assert found.error == "truncated: not read at all: column text stands twice"

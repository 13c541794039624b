"""Packing: every kind of source gives shards that the reader reads whole, the same bytes each time, or nothing."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.shards import samples
from PIL import Image

from fcs.core.errors import Interrupted
from fcs.shards.input.decode import Format
from fcs.shards.input.reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.tools.cli.pack import main
from fcs.tools.cli.predict import main as predict
from fcs.tools.pack import write
from fcs.tools.pack.masks import FRACTIONS, draw
from fcs.tools.pack.raw import Keys, Raw, valid
from fcs.tools.pack.write import pack

WIDTH, HEIGHT = 20, 12
FORM = Format(3, HEIGHT, WIDTH)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def pixels(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(number: int, form: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number)).save(buffer, form, **options)
    return buffer.getvalue()


def mask(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number)[..., 0]).save(buffer, "png")
    return buffer.getvalue()


def contents(out: Path) -> dict[str, dict[str, bytes]]:
    """Members by key and suffix, over all shards in order."""
    return {key: members for path in sorted(out.glob("*.tar")) for key, members in samples(path).items()}


def readable(out: Path, form: Format = FORM) -> int:
    """Check that the reader has no complaint; the number of records, which sizes.json says too."""
    sizes = json.loads((out / "sizes.json").read_text())
    for source in resolve(f"{out}/*.tar"):
        with ShardReader(source, form) as reader:
            records = [reader.record(number) for number in range(len(reader))]
            assert [record.error for record in records] == [None] * len(records)
            assert sizes[Path(source.url).name] == len(records)
    assert len(sizes) == len(list(out.glob("*.tar")))
    return sum(sizes.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures with what may lie beside them."""
    top = tmp_path / "pictures"
    (top / "in.ner" / "deep").mkdir(parents=True)
    (top / "a.png").write_bytes(encoded(0))
    (top / "a.mask.png").write_bytes(mask(0))
    (top / "a.txt").write_text("red apple")
    (top / "a.json").write_text('{"seed": 7, "class": 1}')
    (top / "b.v2.JPG").write_bytes(encoded(1, "jpeg"))
    (top / "c.webp").write_bytes(encoded(2, "webp"))
    (top / "in.ner" / "d.bmp").write_bytes(encoded(3, "bmp"))
    (top / "in.ner" / "deep" / "e.tiff").write_bytes(encoded(4, "tiff"))
    (top / "x.jpg").write_bytes(encoded(5, "jpeg"))
    (top / "x.png").write_bytes(encoded(6))
    (top / ".hidden.png").write_bytes(b"no picture")
    (top / "notes.pdf").write_bytes(b"no picture")
    return top


def test_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([str(folder), str(out), "--records-per-shard", "3"]) == 0
    assert "3 shards, 7 records, 0 left out" in capsys.readouterr().out
    assert readable(out) == 7
    assert sorted(path.name for path in out.iterdir()) == ["000000.tar", "000001.tar", "000002.tar", "sizes.json"]
    found = contents(out)
    assert list(found) == ["a", "b_v2", "c", "in_ner/d", "in_ner/deep/e", "x", "x-2"]
    beside = {name: (folder / f"a.{name}").read_bytes() for name in ("png", "mask.png", "txt", "json")}
    assert found["a"] == beside
    assert found["b_v2"] == {"jpg": encoded(1, "jpeg")}
    assert found["c"] == {"webp": encoded(2, "webp")}
    for key, number in (("in_ner/d", 3), ("in_ner/deep/e", 4)):
        assert np.array_equal(np.array(Image.open(io.BytesIO(found[key]["png"]))), pixels(number))


def test_the_same_bytes_each_time(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main([str(folder), str(tmp_path / name), "--mask", "freeform"]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_limit_keeps_keys_and_masks(folder: Path, tmp_path: Path) -> None:
    for name, more in {"all": [], "some": ["--limit", "3"], "other": ["--seed", "1"]}.items():
        assert main([str(folder), str(tmp_path / name), "--mask", "random", *more]) == 0
    whole, some, other = (contents(tmp_path / name) for name in ("all", "some", "other"))
    assert some == dict(itertools.islice(whole.items(), 3))
    assert all(whole[key]["mask.png"] != other[key]["mask.png"] for key in whole)


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "cut.png").write_bytes(encoded(8)[:-200])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.webp").write_bytes(b"")
    (folder / "misfit.png").write_bytes(encoded(9))
    Image.new("L", (3, 3)).save(folder / "misfit.mask.png")
    (folder / "facts.png").write_bytes(encoded(9))
    (folder / "facts.json").write_text("[1]")
    os.mkfifo(folder / "pipe.png")
    assert main([str(folder), str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "7 records, 5 left out" in said.out
    assert readable(tmp_path / "out") == 7
    for name in ("cut.png", "text.jpg", "empty.webp", "misfit.png: mask_size", "facts.png: bad_json"):
        assert f"fcs-pack: left out: {folder}/{name}" in said.err
    assert len(said.err.splitlines()) == 5


def test_nothing_but_broken_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert not (tmp_path / "out").exists()


def test_an_upright_mask_and_another_size(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(encoded(0, "jpeg", exif=turned))
    assert main([str(tmp_path / "in"), str(tmp_path / "kept"), "--mask", "top"]) == 0
    assert readable(tmp_path / "kept", Format(3, WIDTH, HEIGHT, needs_mask=True)) == 1
    assert contents(tmp_path / "kept")["a"]["jpg"] == encoded(0, "jpeg", exif=turned)
    assert main([str(tmp_path / "in"), str(tmp_path / "small"), "--mask", "top", "--size", "8x6"]) == 0
    assert readable(tmp_path / "small", Format(3, 6, 8, needs_mask=True)) == 1


def test_masks_are_scaled_with_their_pictures(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), str(tmp_path / "out"), "--size", "10"]) == 0
    assert readable(tmp_path / "out", Format(3, 10, 10)) == 7
    scaled = np.array(Image.open(io.BytesIO(contents(tmp_path / "out")["a"]["mask.png"])))
    assert set(np.unique(scaled)) <= set(np.unique(pixels(0)[..., 0]))  # nearest: no grey that was not there


@pytest.mark.parametrize("kind", FRACTIONS)
@pytest.mark.parametrize("size", [(64, 48), (17, 16), (1, 1)])
def test_masks(kind: str, size: tuple[int, int]) -> None:
    for fraction in (FRACTIONS[kind], 0.05, 0.9):
        first, same, other = (np.array(draw(kind, *size, fraction, seed)) for seed in (0, 0, 1))
        assert first.dtype == np.uint8
        assert first.shape == size[::-1]
        assert set(np.unique(first)) <= {0, 255}
        assert np.array_equal(first, same)
        if size == (64, 48):
            share, allowed = (first > 0).mean(), 0.15 if kind == "freeform" else 0.03
            assert fraction - 0.03 < share < fraction + allowed
            assert np.array_equal(first, other) == (kind in ("left", "right", "top", "bottom", "outpaint")) or (
                kind == "half"
            )


def test_which_side() -> None:
    sides = {kind: np.array(draw(kind, 8, 6, 0.5, 0)) > 0 for kind in ("left", "right", "top", "bottom")}
    assert sides["left"][:, :4].all()
    assert not sides["left"][:, 4:].any()
    assert np.array_equal(sides["right"], ~sides["left"])
    assert sides["top"][:3].all()
    assert np.array_equal(sides["bottom"], ~sides["top"])
    halves = {draw("half", 8, 6, 0.5, seed).tobytes() for seed in range(40)}
    assert halves == {Image.fromarray(np.where(side, 255, 0).astype(np.uint8)).tobytes() for side in sides.values()}
    border = np.array(draw("outpaint", 8, 8, 0.75, 0)) > 0
    assert not border[2:6, 2:6].any()
    assert border.sum() == 64 - 16


ROWS = [
    {"image": "a.png", "mask": "a.mask.png", "prompt": "red apple", "seed": 7, "class": 3},
    {"image": "c.webp", "mask": None, "prompt": None, "seed": None, "class": 4},
    {"image": "in.ner/d.bmp", "mask": None, "prompt": "", "seed": 2**62, "class": 5},
]


def write_csv(folder: Path) -> Path:
    path = folder / "table.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def write_jsonl(folder: Path) -> Path:
    path = folder / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def embedded(folder: Path) -> pa.Table:
    """The rows with datasets' struct of bytes and path in the place of paths."""

    def picture(name: str | None) -> dict[str, object] | None:
        return None if name is None else {"bytes": (folder / name).read_bytes(), "path": name}

    return pa.Table.from_pylist([{**row, "image": picture(row["image"]), "mask": picture(row["mask"])} for row in ROWS])


def write_embedded(folder: Path) -> Path:
    path = folder / "embedded.parquet"
    pq.write_table(embedded(folder), path)
    return path


def write_dataset(folder: Path, name: str = "dataset", stream: bool = True) -> Path:
    """A dataset as save_to_disk writes it, in two files."""
    path, rows = folder.parent / name, embedded(folder)
    path.mkdir(parents=True)
    files = [f"data-{i:05d}-of-00002.arrow" for i in range(2)]
    for file, part in zip(files, (rows.slice(0, 1), rows.slice(1)), strict=True):
        writer = (pa.ipc.new_stream if stream else pa.ipc.new_file)(path / file, part.schema)
        with writer:
            writer.write_table(part)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))
    (path / "dataset_info.json").write_text("{}")
    return path


SOURCES = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "bytes": write_embedded,
    "dataset": write_dataset,
    "file": lambda folder: write_dataset(folder, stream=False),
}


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
    assert ("txt" in found["in_ner/d"]) == (kind != "csv")  # only a CSV cannot tell empty from none


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


def test_a_column_of_bytes_alone(tmp_path: Path) -> None:
    odd = {"when": pa.array([0], pa.timestamp("s")), "score": [float("nan")], "thumb": [b"\0"], "list": [[1, None]]}
    rows = pa.table({"content": [encoded(0)], **odd})
    pq.write_table(rows, tmp_path / "t.parquet")
    assert main([str(tmp_path / "t.parquet"), str(tmp_path / "out")]) == 0
    (key, record), *_ = contents(tmp_path / "out").items()
    assert key == "00000000"
    assert json.loads(record["json"]) == {"when": "1970-01-01 00:00:00", "score": None, "list": [1, None]}


def test_rows_that_are_none(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "t.jsonl"
    rows = ['{"image": "a.png"}', "{", "[]", '{"image": null}', '{"image": "none.png"}', '{"image": "a\\u0000.png"}']
    table.write_text("\n".join([*rows, '{"image": "a.png", "seed": -1}', '{"image": "in.ner"}']))
    assert main([str(table), str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert "1 records, 7 left out" in said.out
    assert [f"record {number}" in line for number, line in enumerate(said.err.splitlines(), 2)] == [True] * 7
    (folder / "t.csv").write_text("image,x\na.png,1\na.png\na.png,1,2\n")
    assert main([str(folder / "t.csv"), str(tmp_path / "more")]) == 3
    assert "1 records, 2 left out" in capsys.readouterr().out


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


def mistakes(folder: Path) -> Iterator[tuple[list[str], str]]:
    text, table, dataset = folder / "notes.pdf", write_jsonl(folder), write_dataset(folder)
    yield [], "SOURCE"
    yield ["nowhere", "out"], "SOURCE=nowhere"
    yield [str(text), "out"], "a folder, a dataset on disk or a table"
    yield [str(folder), "out", "more"], "more"
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
        assert said.out == ""
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

    def records() -> Iterator[Raw]:
        for number in range(7):
            seen.append(sorted(path.name for path in out.iterdir()) if out.exists() else [])
            yield Raw(str(number), str(number), encoded(number))

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
    members = write.members

    def signalled(*given: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return members(*given)

    monkeypatch.setattr(write, "members", signalled)
    assert main([str(folder), str(tmp_path / "o")]) == 75
    assert "SIGTERM" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_keys() -> None:
    given = ["a.b", "a_b", "../../etc/passwd", "/abs", "", "..", "a\\b", "tab\t", "\ud800", "é" * 600, "a_b-2", "a b"]
    keys = Keys()
    made = [keys.take(name) for name in given]
    assert made[:5] == ["a_b", "a_b-2", "etc/passwd", "abs", "_"]
    assert len(set(made)) == len(made)
    assert all(len(key) < 256 and key.isprintable() and "." not in key and "" not in key.split("/") for key in made)
    assert [valid(key) for key in made] == made


def test_predict_on_what_was_packed(digits_shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(digits_shard) as tar:
        pictures = [member for member in tar if member.name.count(".") == 1 and member.name.endswith(".png")][:4]
        for member in pictures:
            file = tar.extractfile(member)
            assert file is not None
            (tmp_path / "in" / member.name).write_bytes(file.read())
    assert main([str(tmp_path / "in"), str(tmp_path / "shards"), "--mask", "box", "--records-per-shard", "3"]) == 0
    settings = [f"data.shards={tmp_path}/shards/*.tar", f"out={tmp_path}/out", "steps=1", "data.workers=0"]
    assert predict(["--config", "digits_inpaint", *settings]) == 0
    assert "4 ok, 0 failed" in capsys.readouterr().out

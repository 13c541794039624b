"""fcs-pack on folders: shards that the reader reads whole, the same bytes each time, or nothing."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.pack_sources import (
    HEIGHT,
    WIDTH,
    contents,
    encoded,
    pixels,
    readable,
    write_pictures,
)
from PIL import Image

from fcs.shards.input.decode import Format
from fcs.shards.input.valid_keys import UniqueKeys, valid_key
from fcs.tools.cli.pack import main
from fcs.tools.cli.predict import main as predict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def test_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([str(folder), str(out), "--records-per-shard", "3"]) == 0
    said = capsys.readouterr().out
    assert "masks: 1 of 7, prompts: 1 of 7, KEY.json: 1 of 7\n" in said
    assert "3 shards, 7 records, 0 left out" in said
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
    assert set(np.unique(scaled)) <= {*np.unique(pixels(0)[..., 0]), 0, 255}  # nearest: no grey that was not there


@pytest.mark.parametrize("shape", [(12, 12), (HEIGHT, WIDTH), (10, 10)])
def test_a_mask_of_another_shape_is_not_cut_into_place(
    tmp_path: Path, shape: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for key, size in {"a": shape, "half": (WIDTH // 2, HEIGHT // 2)}.items():
        (tmp_path / "in" / f"{key}.png").write_bytes(encoded(0))
        Image.new("L", size, 255).save(tmp_path / "in" / f"{key}.mask.png")
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--size", "10"]) == 3
    said = f"a.png: mask_size: {shape[0]}x{shape[1]} is of another shape than the picture, {WIDTH}x{HEIGHT}"
    assert said in capsys.readouterr().err
    assert list(contents(tmp_path / "out")) == ["half"]


def test_keys() -> None:
    given = ["a.b", "a_b", "../../etc/passwd", "/abs", "", "..", "a\\b", "tab\t", "\ud800", "é" * 600, "a_b-2", "a b"]
    keys = UniqueKeys()
    made = [keys.make(name) for name in given]
    assert made[:5] == ["a_b", "a_b-2", "etc/passwd", "abs", "_"]
    assert len(set(made)) == len(made)
    assert all(len(key) < 256 and key.isprintable() and "." not in key and "" not in key.split("/") for key in made)
    assert [valid_key(key) for key in made] == made


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


def test_what_a_run_may_stumble_over_is_said(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), str(tmp_path / "one")]) == 0
    said = capsys.readouterr().out
    assert "pictures: all 20x12; data.resize=crop or data.resize=pad" in said
    assert "6 records without a mask would fail in task=inpaint; fcs-pack --mask box" in said
    Image.new("RGB", (12, 20)).save(folder / "high.png")
    assert main([str(folder), str(tmp_path / "two"), "--mask", "box"]) == 0
    said = capsys.readouterr().out
    assert "pictures: 12x20 to 20x12; data.resize" in said
    assert "without a mask" not in said

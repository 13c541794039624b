"""What is done to masks of a run, and where they come from."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fcs.core.mask_edits import MaskEdits
from fcs.core.notes import TWO_VALUES
from fcs.shards.input.decode import Format
from fcs.shards.input.mask_source import mask_source
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.input.whole_tar import members_by_key
from fcs.tools.cli.predict import main


def dot(size: int = 11) -> Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.uint8)
    mask[0, size // 2, size // 2] = 255
    return mask


def distance(size: int = 11) -> Tensor:
    """From the middle, along rows, columns and diagonals alike."""
    away = (torch.arange(size) - size // 2).abs()
    return torch.maximum(away[:, None], away[None])[None]


def test_without_edits_a_mask_is_itself() -> None:
    mask = torch.randint(0, 256, (1, 7, 9), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(MaskEdits().spread(mask), mask)


@pytest.mark.parametrize("pixels", [1, 3])
def test_what_is_generated_grows_on_all_sides(pixels: int) -> None:
    assert torch.equal(MaskEdits(grow=pixels).spread(dot()) == 255, distance() <= pixels)
    soft = dot() // 2
    assert MaskEdits(grow=pixels).spread(soft).max() == soft.max()


def test_a_feather_falls_in_equal_steps_and_ends() -> None:
    found = MaskEdits(grow=1, feather=3).spread(dot())[0, 5, 5:].tolist()
    assert found == [255, 255, round(255 * 3 / 4), round(255 * 2 / 4), round(255 / 4), 0]


def test_edges_of_the_picture_hide_nothing() -> None:
    corner = torch.zeros(1, 6, 6, dtype=torch.uint8)
    corner[0, 0, 0] = 255
    assert (MaskEdits(grow=2).spread(corner) > 0).sum() == 9


# Where a mask comes from


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()


def shard(path: Path, records: dict[str, dict[str, Image.Image]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for key, members in records.items():
            for suffix, picture in members.items():
                data = png(picture)
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def left(width: int = 16, height: int = 16) -> Image.Image:
    """A mask whose left half is white."""
    values = np.zeros((height, width), np.uint8)
    values[:, : width // 2] = 255
    return Image.fromarray(values)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two pictures without masks, one of them with a transparent left half."""
    opaque = Image.new("RGB", (16, 16), "red")
    holed = opaque.convert("RGBA")
    holed.putalpha(Image.fromarray(255 - np.asarray(left())))
    return shard(tmp_path / "plain.tar", {"a": {"png": opaque}, "b": {"png": holed}})


def read(path: Path, form: Format) -> list[tuple[str | None, Tensor | None]]:
    with ShardReader(resolve(str(path))[0], form) as reader:
        records = [reader.record(i) for i in range(len(reader))]
    return [(record.error, record.mask) for record in records]


def test_one_mask_for_all_records(plain: Path, tmp_path: Path) -> None:
    left().save(tmp_path / "mask.png")
    form = Format(3, 16, 16, needs_mask=True, mask=mask_source(str(tmp_path / "mask.png")))
    expected = torch.from_numpy(np.array(left()))[None]
    assert all(error is None and torch.equal(mask, expected) for error, mask in read(plain, form))  # type: ignore[arg-type]
    left(8, 8).save(tmp_path / "small.png")
    form = Format(3, 16, 16, needs_mask=True, mask=mask_source(str(tmp_path / "small.png")))
    assert read(plain, form)[0][0] == "mask_size: data.mask is 8x8, the image has 16x16"


def test_a_mask_for_all_that_is_perhaps_read_otherwise_is_said_of_all(plain: Path, tmp_path: Path) -> None:
    Image.fromarray(np.asarray(left()) // 255).save(tmp_path / "ones.png")
    form = Format(3, 16, 16, needs_mask=True, mask=mask_source(str(tmp_path / "ones.png")))
    with ShardReader(resolve(str(plain))[0], form) as reader:
        assert {reader.record(i).notes for i in range(len(reader))} == {(TWO_VALUES,)}


def test_transparency_is_the_mask(plain: Path) -> None:
    (error, _), (none, mask) = read(plain, Format(3, 16, 16, needs_mask=True, mask=mask_source("alpha")))
    assert error == "missing_mask: data.mask=alpha, and the picture has no alpha channel"
    assert none is None
    assert torch.equal(mask, torch.from_numpy(np.array(left()))[None])  # type: ignore[arg-type]


def test_bars_of_an_inverted_mask_mirror_it(tmp_path: Path) -> None:
    wide = shard(tmp_path / "wide.tar", {"a": {"png": Image.new("RGB", (32, 16)), "mask.png": left(32, 16)}})
    ((_, mask),) = read(wide, Format(3, 16, 16, "pad", needs_mask=True, edits=MaskEdits(invert=True)))
    assert mask is not None
    assert (mask[0, :, 8:] == 255).all()
    assert not mask[0, :, :8].any()


def test_a_run_with_a_mask_for_all(digits_shard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mask.png"
    left().save(path)
    settings = ["steps=1", "data.batch_size=4", "data.limit=4", "data.workers=0", "previews.max=0"]
    arguments = ["--config", "digits_inpaint", f"data.shards={digits_shard}", f"out={tmp_path}/o", *settings]
    arguments += [f"data.mask={path}", "mask.invert=true", "mask.grow=2"]
    assert main(arguments) == 0
    given = members_by_key(digits_shard)
    for key, made in members_by_key(tmp_path / "o" / "shards" / f"{digits_shard.stem}.tar").items():
        before, after = (np.array(Image.open(io.BytesIO(one["png"])).convert("L")) for one in (given[key], made))
        assert np.array_equal(before[:, :6], after[:, :6])  # the left half is kept but for two columns
        assert not np.array_equal(before[:, 6:], after[:, 6:])
    pinned = json.loads((tmp_path / "o" / "run.json").read_text())
    assert pinned["settings"]["mask.grow"] == 2
    left(32, 32).save(path)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "data.mask.sha256" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_mask_that_cannot_be_is_said_at_once(
    content: bytes | None,
    digits_shard: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be shortened
    path = Path("mask.png")
    if content is not None:
        path.write_bytes(content)
    arguments = ["--config", "digits_inpaint", f"data.shards={digits_shard}", f"out={tmp_path}/o", f"data.mask={path}"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fcs-predict: data.mask={path}: expected a ")
    assert said.count("\n") == 1
    assert not (tmp_path / "o").exists()

"""Pictures beyond the limit of shards: reduced while they are read where a size is asked for, else refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcs.core.pictures import PictureError, read_picture
from fcs.tools.cli.pack import main
from fcs.tools.pack import large_pictures
from fcs.tools.pack.large_pictures import open_to_scale

WIDTH, HEIGHT = 192, 128


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pictures, "MAX_PIXELS", WIDTH * HEIGHT // 2)
    monkeypatch.setattr(large_pictures, "LARGEST", WIDTH * HEIGHT)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)


def picture() -> Image.Image:
    """A ramp down, and along in colour."""
    along, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    return Image.fromarray(np.stack([along, down, 255 - along], -1).round().astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "F"])
def test_every_mode_is_reduced_as_pillow_would(mode: str) -> None:
    ramp = picture().convert("L" if mode in ("I;16", "F") else mode)
    if mode == "I;16":
        ramp = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    elif mode == "F":
        ramp = Image.fromarray(np.asarray(ramp).astype(np.float32))
    found = open_to_scale(encoded(ramp, "TIFF" if mode == "F" else "PNG"), (32, 32))
    assert found.size == (WIDTH // 4, HEIGHT // 4)
    wanted = read_picture(ramp, "RGB")[0].resize(found.size, Image.Resampling.BOX)
    off = np.abs(np.asarray(read_picture(found, "RGB")[0], float) - np.asarray(wanted, float))
    assert off.mean() < 4


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_it_is_turned_once(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found, _ = read_picture(open_to_scale(encoded(picture(), form, exif=exif), (16, 16)), "RGB")
    assert found.height > found.width
    values = np.asarray(found, int)
    assert values[0, :, 1].min() < values[0, :, 1].max() - 100  # what went down goes along
    assert values[:, 0, 0].min() < values[:, 0, 0].max() - 100


def test_masks_keep_their_values() -> None:
    values = np.where(np.asarray(picture())[..., 0] > 100, 255, 0).astype(np.uint8)
    found = open_to_scale(encoded(Image.fromarray(values), "PNG"), (30, 20), nearest=True)
    assert found.size == (WIDTH // 4, HEIGHT // 4)
    assert set(np.unique(np.asarray(found))) == {0, 255}


def test_what_is_refused() -> None:
    data = encoded(picture(), "PNG")
    with pytest.raises(
        PictureError, match=f"{WIDTH}x{HEIGHT}, allowed are {WIDTH * HEIGHT // 2} pixels; --size reduces"
    ):
        open_to_scale(data, None)
    with pytest.raises(PictureError, match=rf"allowed are {WIDTH * HEIGHT} pixels$"):
        open_to_scale(encoded(picture().resize((WIDTH, HEIGHT + 1)), "PNG"), (8, 8))
    with pytest.raises(PictureError, match="truncated"):
        open_to_scale(data[:-100], (8, 8))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_packing_to_a_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    picture().save(tmp_path / "in" / "a.png")
    picture().convert("1").save(tmp_path / "in" / "a.mask.png")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert "--size reduces it" in capsys.readouterr().err
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--size", "24x16"]) == 0

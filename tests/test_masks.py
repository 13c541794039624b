"""Masks as other people's programs write them: one mask in all representations, read alike in all three ways."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tars import one, picture, pixels
from PIL import Image, ImageDraw, ImageFilter

from fcs.core.masks import clean, mask_from, read_mask
from fcs.core.notes import ALPHA, CLASSES, FAINT, GREY, NOTHING, SCALE, TWO_VALUES
from fcs.core.pictures import PictureError
from fcs.engine.python_pictures import read_hole
from fcs.shards.input.decode import Format
from fcs.tools.pack.record_members import LeftOutError, Recipe, record_members
from fcs.tools.pack.source_record import SourceRecord

FOREIGN = Path(__file__).parent / "foreign" / "masks"
SIDE = 16
FORM = Format(1, SIDE, SIDE, needs_mask=True)
HOLE = np.zeros((SIDE, SIDE), bool)
HOLE[3:9, 5:12] = True
PLAIN = HOLE.astype(np.uint8) * 255
NOTES = {
    "alpha_over_black": ALPHA,
    "alpha_over_white": ALPHA,
    "dark_red": TWO_VALUES,
    "eight_bits_in_sixteen": SCALE,
    "grey_ramp_palette": TWO_VALUES,
    "one_bit": None,
    "ones": TWO_VALUES,
    "ones_16bit": TWO_VALUES,
    "palette_of_two_colours": TWO_VALUES,
    "palette_white_first": None,
    "plain": None,
    "plain_16bit": None,
    "pure_red": TWO_VALUES,
    "voc_palette": TWO_VALUES,
    "voc_palette_transparent": ALPHA,
    "white_strokes_on_nothing": ALPHA,
}


def in_a_shard(folder: Path, data: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    record = one(folder, {"png": picture(size=(SIDE, SIDE)), "mask.png": data}, FORM)
    assert record.mask is not None, record.error
    return record.mask[0].numpy(), record.notes


def packed(data: bytes, size: tuple[int, int] | None = None) -> tuple[bytes, tuple[str, ...]]:
    source = SourceRecord("a", "a", image=picture(size=(SIDE, SIDE)), mask=data)
    made = record_members(source, "a", Recipe(size=size))
    return made.content["mask.png"], made.notes


def from_python(mask: object) -> tuple[np.ndarray, tuple[str, ...]]:
    read, notes = read_hole(mask, "mask")  # type: ignore[arg-type]
    return np.array(read), notes


@pytest.mark.parametrize("name", NOTES)
def test_a_file_is_the_same_mask_in_shards_in_packing_and_in_python(tmp_path: Path, name: str) -> None:
    path = FOREIGN / f"{name}.png"
    notes = () if NOTES[name] is None else (NOTES[name],)
    data = path.read_bytes()
    for found in (in_a_shard(tmp_path, data), from_python(path), from_python(str(path)), from_python(Image.open(path))):
        assert np.array_equal(found[0], PLAIN)
        assert found[1] == notes
    written, said = packed(data)
    assert said == notes
    assert (written == data) == (not notes)  # what had to be guessed is written so that nobody need guess again
    mask, unsaid = in_a_shard(tmp_path, written)
    assert np.array_equal(mask, PLAIN)
    assert unsaid == ()


def test_every_foreign_mask_has_its_expectation() -> None:
    assert {path.stem for path in FOREIGN.iterdir()} == set(NOTES)


ARRAYS: dict[str, Callable[[], object]] = {
    "booleans": lambda: HOLE,
    "bytes": lambda: PLAIN,
    "ones": lambda: HOLE.astype(np.uint8),
    "ones in uint16": lambda: HOLE.astype(np.uint16),
    "ones in int64": lambda: HOLE.astype(np.int64),
    "float ones": lambda: HOLE.astype(np.float32),
    "double 255": lambda: PLAIN.astype(float),
    "uint16 65535": lambda: PLAIN.astype(np.uint16) * 257,
    "with a channel": lambda: PLAIN[..., None],
    "three channels": lambda: PLAIN[..., None].repeat(3, 2),
    "three channels of ones": lambda: HOLE[..., None].repeat(3, 2).astype(np.uint8),
    "alpha of zeros": lambda: np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), PLAIN]),
    "luminance, opaque": lambda: np.dstack([PLAIN, np.full_like(PLAIN, 255)]),
    "float with alpha": lambda: np.dstack([np.ones((SIDE, SIDE, 3)), HOLE]),
    "red": lambda: np.dstack([PLAIN, 0 * PLAIN, 0 * PLAIN]),
    "tensor": lambda: torch.from_numpy(HOLE)[None],
    "tensor of floats": lambda: torch.from_numpy(HOLE)[None].float(),
    "Pillow's F": lambda: Image.fromarray(HOLE.astype(np.float32)),
    "Pillow's I": lambda: Image.fromarray(HOLE.astype(np.int32)),
    "Pillow's 1": lambda: Image.fromarray(HOLE),
    "Pillow's LA": lambda: Image.fromarray(np.dstack([PLAIN, np.full_like(PLAIN, 255)])),
    "Pillow's CMYK": lambda: Image.fromarray(PLAIN).convert("RGB").convert("CMYK"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_the_same_mask_whatever_holds_it(name: str) -> None:
    assert np.array_equal(from_python(ARRAYS[name]())[0], PLAIN)


def test_greys_stay_soft_and_alpha_multiplies_them() -> None:
    greys = np.arange(256, dtype=np.uint8).reshape(SIDE, SIDE)
    ramp = np.where(greys <= 8, 0, np.where(greys >= 247, 255, greys)).astype(np.uint8)  # next to black and white
    assert np.array_equal(from_python(greys)[0], ramp)
    assert np.array_equal(from_python(ramp / 255)[0], ramp)
    assert np.array_equal(from_python(Image.fromarray(ramp).convert("P"))[0], ramp)
    half = np.where(HOLE, 128, 255).astype(np.uint8)
    made, notes = from_python(np.dstack([ramp, half]))
    assert np.abs(made - np.where(HOLE, ramp * (128 / 255), ramp)).max() <= 0.5
    assert notes == (ALPHA,)
    assert np.array_equal(from_python(np.dstack([ramp, np.full_like(ramp, 7)]))[0], ramp)  # constant alpha says nothing


@pytest.mark.parametrize(("black", "white"), [(0, 254), (3, 255), (8, 247)])
def test_a_hole_that_is_not_quite_white_is_white(tmp_path: Path, black: int, white: int) -> None:
    greys = np.where(HOLE, white, black).astype(np.uint8)
    assert np.array_equal(from_python(greys)[0], PLAIN)
    made, notes = in_a_shard(tmp_path, pixels(greys))
    assert np.array_equal(made.squeeze(), PLAIN)
    assert notes == ((CLASSES,) if black else ())
    erased = np.dstack([np.zeros((SIDE, SIDE, 3), np.uint8), 255 - greys])
    whole = Format(3, SIDE, SIDE, needs_mask=True, mask="alpha")
    mask = one(tmp_path, {"png": pixels(erased)}, whole).mask
    assert mask is not None
    assert np.array_equal(mask.squeeze(), PLAIN)


def test_a_mask_that_is_white_nowhere_is_noted() -> None:
    made, notes = from_python(HOLE.astype(np.uint8) * 200)
    assert np.array_equal(made, HOLE * 200)
    assert notes == (GREY,)


def test_an_opaque_channel_with_noise_says_nothing() -> None:
    noisy = np.where(HOLE, 254, 255).astype(np.uint8)
    assert not from_python(np.dstack([0 * PLAIN, noisy]))[0].any()


def test_one_colour_everywhere_is_all_to_be_generated() -> None:
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[..., 0] = 255
    assert (from_python(red)[0] == 255).all()
    assert (from_python(np.ones((SIDE, SIDE), np.uint8))[0] == 255).all()


def test_a_large_mask_is_read_in_a_few_times_its_memory() -> None:
    large = Image.fromarray(np.zeros((1500, 2000), np.uint8))
    tracemalloc.start()
    read_mask(large)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * large.width * large.height  # as an array, Pillow hands its pixels over in pieces first


COLOURED = {
    "a photograph": np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8),
    "three colours": np.dstack([PLAIN, PLAIN.T, 0 * PLAIN]),
    "red on white": np.dstack([np.full_like(PLAIN, 255), 255 - PLAIN, 255 - PLAIN]),
}


@pytest.mark.parametrize("name", COLOURED)
def test_colours_that_are_no_mask_are_refused_by_name(tmp_path: Path, name: str) -> None:
    mask = COLOURED[name]
    error = one(tmp_path, {"png": picture(size=(SIDE, SIDE)), "mask.png": pixels(mask)}, FORM).error
    assert error is not None
    assert error.startswith("bad_mask: mask ")
    assert "colours: expected black, white and greys" in error
    with pytest.raises(LeftOutError, match=r"mask .*colours: expected black, white and greys"):
        packed(pixels(mask))
    for given in (mask, Image.fromarray(mask)):
        with pytest.raises(ValueError, match=r"mask: .*colours: expected .*is it the picture"):
            from_python(given)


def strokes() -> Image.Image:
    """Thin and thick white lines on black, of a size that is no multiple of JPEG's blocks."""
    made = Image.new("L", (61, 43))
    pen = ImageDraw.Draw(made)
    pen.line([(3, 40), (30, 5), (58, 33)], fill=255, width=7)
    pen.line([(0, 9), (60, 14)], fill=255, width=1)
    return made


def compressed(image: Image.Image, mode: str, quality: int, **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "jpeg", quality=quality, **more)
    return buffer.getvalue()


def turned_by_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [50, 75, 89])
def test_a_jpeg_of_black_and_white_is_that(mode: str, quality: int) -> None:
    data = compressed(strokes(), mode, quality)
    greys = np.array(Image.open(io.BytesIO(data)).convert("L"))
    assert ((greys > 8) & (greys < 247)).any()  # without this they would be half known
    made, notes = read_mask(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.array(made), np.array(strokes()))
    assert notes == ()
    turned = compressed(strokes(), mode, quality, exif=turned_by_exif(6))
    expected = strokes().transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.array(read_mask(Image.open(io.BytesIO(turned)))[0]), np.array(expected))
    picture = SourceRecord("a", "a", image=pixels(np.zeros((43, 61, 3), np.uint8)), mask=data)
    packed_mask = record_members(picture, "a", Recipe()).content["mask.png"]
    assert np.array_equal(np.array(Image.open(io.BytesIO(packed_mask))), np.array(strokes()))


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_a_jpeg_of_greys_stays_as_it_is(quality: int) -> None:
    soft = strokes().filter(ImageFilter.GaussianBlur(2))
    half = strokes().point(lambda value: value * 200 // 255)
    for image in (soft, half, strokes().point(lambda value: max(value, 20))):
        greys = Image.open(io.BytesIO(compressed(image, "L", quality)))
        made, _ = read_mask(greys)
        assert np.array_equal(np.array(made), np.array(clean(greys)))


def test_a_voc_map_of_three_classes_is_refused() -> None:
    labels = Image.fromarray(HOLE.astype(np.uint8)).convert("P")
    labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    assert np.array_equal(np.array(read_mask(labels)[0]), PLAIN)
    labels.putpixel((0, 0), 2)
    with pytest.raises(PictureError, match="3 colours"):
        read_mask(labels)


def test_class_numbers_are_noted_and_stay_greys() -> None:
    made, notes = from_python(HOLE.astype(np.uint8) * 15)
    assert np.array_equal(made, HOLE * 15)
    assert notes == (FAINT,)


@pytest.mark.parametrize("number", [1, 15])
def test_class_numbers_beside_a_white_border_are_said(number: int) -> None:
    labels = HOLE.astype(np.uint8) * number
    labels[0] = 255
    greys, notes = mask_from(labels)
    assert np.array_equal(np.array(greys), np.where(labels == 1, 0, labels))  # next to black
    assert notes == (CLASSES,)
    labels[1] = 128  # a soft edge
    assert mask_from(labels)[1] == ()


@pytest.mark.parametrize("bad", [np.full((SIDE, SIDE), np.nan), -np.ones((SIDE, SIDE)), np.full((SIDE, SIDE), 1e6)])
def test_numbers_that_are_no_mask_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels"):
        mask_from(bad)


def test_a_mask_that_generates_nothing_is_noted(tmp_path: Path) -> None:
    black = pixels(np.zeros((SIDE, SIDE), np.uint8))
    assert in_a_shard(tmp_path, black)[1] == (NOTHING,)
    assert packed(black) == (black, (NOTHING,))
    corner = np.zeros((SIDE, 2 * SIDE), np.uint8)
    corner[0, 0] = 255
    members = {"png": picture(size=(2 * SIDE, SIDE)), "mask.png": pixels(corner)}
    assert one(tmp_path, members, Format(1, SIDE, SIDE, "crop")).notes == (NOTHING,)  # what was white is cut off


def test_masks_are_resized_as_they_are_read() -> None:
    small, _ = packed((FOREIGN / "voc_palette.png").read_bytes(), (SIDE // 2, SIDE // 2))
    expected = Image.fromarray(PLAIN).resize((SIDE // 2, SIDE // 2), Image.Resampling.NEAREST)
    assert np.array_equal(np.array(Image.open(io.BytesIO(small))), np.array(expected))


@pytest.mark.parametrize("stray", [b"junk", pixels(np.zeros((3, 3), np.uint8)), pixels(COLOURED["a photograph"])])
def test_a_stray_mask_does_no_harm_where_none_is_read(tmp_path: Path, stray: bytes) -> None:
    members = {"png": picture(size=(SIDE, SIDE)), "mask.png": stray}
    assert one(tmp_path, members, FORM).error is not None
    for keeps in (False, True):
        record = one(tmp_path, members, Format(1, SIDE, SIDE, reads_mask=False, keep_members=keeps))
        assert record.error is None
        assert record.mask is None
        assert record.members.get("mask.png") == (stray if keeps else None)

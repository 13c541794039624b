"""Pictures as other people's programs write them: floats, deep integers, colour profiles, damage."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.broken_input import chunk
from helpers.icc import profile
from helpers.tars import codes, one, pixels
from PIL import Image, ImageCms

from fcs.core.errors import UsageError
from fcs.core.masks import read_mask
from fcs.core.notes import ALPHA, COLOUR_PROFILE, FRAMES
from fcs.core.pictures import FORMATS, PictureError, open_picture, read_picture
from fcs.core.pixel_values import to_bytes
from fcs.engine.python_inputs import as_list
from fcs.engine.python_pictures import Picture, read_image
from fcs.shards.input.decode import Format
from fcs.shards.input.decode_image import decode_transparency, to_tensor
from fcs.tasks.style import _read
from fcs.tools.pack.record_members import LeftOutError, Recipe, record_members
from fcs.tools.pack.source_record import SourceRecord

FOREIGN = Path(__file__).parent / "foreign" / "pictures"
SIDE = 16
RAMP = np.arange(256, dtype=np.uint8).reshape(SIDE, SIDE)
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)


def greys(picture: Picture) -> np.ndarray:
    return np.array(read_image(picture, 1, "image")[0])


def colours(data: bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    read, notes = read_picture(open_picture(data), "RGB")
    return np.array(read), notes


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", sorted(path.name for path in FOREIGN.glob("ramp*")))
def test_floats_and_deep_integers_are_scaled_by_their_range(name: str) -> None:
    path = FOREIGN / name
    assert np.array_equal(greys(path), RAMP)
    assert np.array_equal(greys(Image.open(path)), RAMP)
    made = record_members(SourceRecord("a", "a", image=path), "a", Recipe()).content["png"]
    assert np.array_equal(greys(Image.open(io.BytesIO(made))), RAMP)
    style = (_read(str(path), SIDE, SIDE) + 1) * 127.5
    assert (style.round() == torch.from_numpy(RAMP)).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [("f4", 1 / 255), ("f8", 1 / 255), ("f8", 1.0), ("f4", 257.0), ("u2", 257), ("i4", 1), ("u4", 257)],
)
def test_arrays_and_tensors_of_any_type_are_the_same_picture(kind: str, scale: float, channels: int) -> None:
    array = (RAMP[..., None].repeat(channels, 2) * np.float64(scale)).astype(kind)
    assert np.array_equal(greys(array), RAMP)
    if kind not in ("u2", "u4"):
        assert np.array_equal(greys(torch.from_numpy(array).movedim(2, 0)), RAMP)


def test_one_tensor_or_path_is_one_picture_and_a_batch_is_several() -> None:
    one_tensor = torch.zeros(3, 4, 4)
    assert len(as_list(one_tensor)) == len(as_list("a.png")) == len(as_list(Path("a.png"))) == 1
    assert len(as_list(one_tensor.expand(5, -1, -1, -1))) == len(as_list(["a.png"] * 5)) == 5


@pytest.mark.parametrize(
    "values",
    [[np.nan, 1.0], [0.0, np.inf], [-1.0, 1.0], [0.0, 1.2], [0.0, 300.5], [0.0, 1e6], [1j, 0]],
    ids=str,
)
def test_numbers_whose_range_says_nothing_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="pixels"):
        to_bytes(np.array(values))


def test_rounding_beyond_the_ends_is_no_other_range() -> None:
    assert to_bytes(np.array([-1e-5, 0.5, 1 + 1e-5])).tolist() == [0, 128, 255]
    assert to_bytes(np.array([0, 1], np.int64)).tolist() == [0, 255]
    assert to_bytes(np.array([0.0, 1.0, 2.0])).tolist() == [0, 1, 2]
    assert to_bytes(np.zeros(2)).tolist() == [0, 0]


def test_a_profile_is_applied_and_not_kept() -> None:
    green = Image.new("RGB", (SIDE, SIDE), (200, 60, 30))
    adobe = png(green, icc_profile=profile(2.2))
    made, notes = colours(adobe)
    wanted = ImageCms.profileToProfile(
        green, io.BytesIO(profile(2.2)), ImageCms.createProfile("sRGB"), ImageCms.Intent.PERCEPTUAL
    )
    assert np.array_equal(made, np.array(wanted))
    assert not np.array_equal(made, np.array(green))
    assert notes == (COLOUR_PROFILE,)
    source = SourceRecord("a", "a", image=adobe)
    assert record_members(source, "a", Recipe()).content["png"] == adobe
    small = record_members(source, "a", Recipe(size=(4, 4))).content["png"]
    assert colours(small)[1] == ()  # else it would be applied twice
    assert np.array_equal(colours(small)[0], made[:4, :4])


def test_a_foreign_profile_gives_the_same_in_all_ways(tmp_path: Path) -> None:
    path = FOREIGN / "adobe_rgb.png"
    record = one(tmp_path, {"png": path.read_bytes()}, Format(3, SIDE, SIDE))
    assert record.image is not None
    assert record.notes == (COLOUR_PROFILE,)
    read, notes = read_image(Image.open(path), 3, "image")
    tensor = to_tensor(read)
    assert torch.equal(record.image, tensor)
    assert notes == record.notes
    assert torch.equal(((_read(str(path), SIDE, SIDE) + 1) * 127.5).round()[0], tensor.float())
    assert greys(FOREIGN / "linear_grey.png")[0, 0] == 128  # .2158 of the light


def png_with_key(bits: int, channels: int, rows: list[bytes], key: bytes) -> bytes:
    """Two by two pixels, of which those of one colour are transparent."""
    header = struct.pack(">IIBBBBB", 2, 2, bits, 0 if channels == 1 else 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header) + chunk(b"tRNS", key) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


KEYED = {
    "1 bit": png_with_key(1, 1, [b"\x40", b"\xc0"], b"\0\0"),
    "2 bits": png_with_key(2, 1, [b"\x70", b"\xf0"], b"\0\1"),
    "4 bits": png_with_key(4, 1, [b"\x7f", b"\xff"], b"\0\7"),
    "8 bits": png_with_key(8, 1, [b"\x80\xff", b"\xff\xff"], b"\0\x80"),
    "16 bits": png_with_key(16, 1, [b"\x12\x34\xff\xff", b"\xff" * 4], b"\x12\x34"),
    "16 bits a colour": png_with_key(16, 3, [b"\x12\x34" * 3 + b"\xff" * 6, b"\xff" * 12], b"\x12\x34" * 3),
}


@pytest.mark.parametrize("name", KEYED)
def test_the_transparent_colour_of_a_png_is_found_at_any_depth(name: str) -> None:
    assert (colours(KEYED[name])[0] == 255).all()
    assert np.array(decode_transparency(KEYED[name])).tolist() == [[255, 0], [0, 0]]
    mask, notes = read_mask(open_picture(KEYED[name]))
    assert (np.array(mask).tolist(), notes) == ([[0, 255], [255, 255]], (ALPHA,))


def test_alpha_passes_a_profile_by() -> None:
    clear = Image.new("RGBA", (4, 4), (200, 60, 30, 0))
    clear.putpixel((0, 0), (200, 60, 30, 255))
    made, _ = colours(png(clear, icc_profile=profile(2.2)))
    opaque, _ = colours(png(clear.convert("RGB"), icc_profile=profile(2.2)))
    assert made[1, 1].tolist() == [255] * 3
    assert np.array_equal(made[0, 0], opaque[0, 0])


@pytest.mark.parametrize(
    "data",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"no profile",
        profile(2.2)[:200],
        profile(1.0, grey=True),
    ],
    ids=["sRGB", "junk", "cut", "grey"],
)
def test_a_profile_that_says_nothing_leaves_every_byte(data: bytes) -> None:
    made, notes = colours(png(Image.fromarray(NOISE), icc_profile=data))
    assert np.array_equal(made, NOISE)
    assert notes == ()


def damaged() -> list[bytes]:
    data, rng = bytearray(png(Image.fromarray(NOISE))), random.Random(0)
    flips = []
    for _ in range(40):
        place = rng.randrange(45, len(data) - 16)  # in the pixels
        flips.append(bytes(data[:place]) + bytes([data[place] ^ 1 << rng.randrange(8)]) + bytes(data[place + 1 :]))
    return flips


@pytest.mark.parametrize("size", [None, (8, 8)])
def test_a_damaged_picture_is_refused_in_all_ways_or_shows_its_pixels(
    tmp_path: Path, size: tuple[int, int] | None
) -> None:
    whole = png(Image.fromarray(NOISE))
    for data in damaged():
        form = Format(3, 24, 24)
        failed = codes([one(tmp_path, {"png": data}, form)]) == [("k", "bad_image")]
        if not failed:
            assert np.array_equal(colours(data)[0], NOISE)
            continue
        with pytest.raises(LeftOutError):
            record_members(SourceRecord("a", "a", image=data), "a", Recipe(size=size))
        with pytest.raises(LeftOutError, match="mask "):
            record_members(SourceRecord("a", "a", image=whole, mask=data), "a", Recipe(size=size))
        with pytest.raises(ValueError, match="image 3: "):
            read_image(Image.open(io.BytesIO(data)), 3, "image 3")


@pytest.mark.parametrize("name", ["flipped_bit.png", "cut.jpg"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = FOREIGN / name
    assert codes([one(tmp_path, {"png": path.read_bytes()}, Format(3, SIDE, SIDE))]) == [("k", "bad_image")]
    for given in (path, Image.open(io.BytesIO(path.read_bytes()))):
        with pytest.raises(ValueError, match=r"^image: [^\n]+$"):
            read_image(given, 3, "image")
    with pytest.raises(UsageError, match=r"^task\.pictures=.*a picture file \([^\n]+\)$"):
        _read(str(path), SIDE, SIDE)


def test_a_path_that_is_none_and_things_that_are_no_pictures_are_named() -> None:
    for given, message in (
        ("nowhere.png", "image: nowhere.png: No such file"),
        ([1, 2], "image: list: expected a PIL picture, an array, a tensor"),
        (np.zeros((4, 0)), r"image: array of float64 \(4, 0\): expected \(H, W\)"),
        (np.zeros((2, 16, 16), np.uint8), r"array of uint8 \(2, 16, 16\)"),
        (np.array([["a"]]), "pixels of type <U1: expected numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            read_image(given, 3, "image")  # type: ignore[arg-type]


def test_running_out_of_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fcs.core.pictures.Image.open", no_memory)
    with pytest.raises(MemoryError):
        open_picture(b"", FORMATS)
    assert codes([one(tmp_path, {"png": pixels(RAMP)})]) == [("k", "out_of_memory")]


def test_what_is_no_picture_is_named_with_its_formats() -> None:
    with pytest.raises(PictureError, match="no PNG, JPEG, WEBP"):
        open_picture(b"hello")


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken_and_that_is_said(kind: str) -> None:
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "lime", "blue")]
    data = io.BytesIO()
    frames[0].save(
        data, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    made, notes = read_picture(open_picture(data.getvalue(), FORMATS), "RGB")
    assert np.array_equal(np.array(made), np.array(frames[0]))
    assert notes == (FRAMES,)
    alone = io.BytesIO()
    frames[0].save(alone, kind)
    assert read_picture(open_picture(alone.getvalue(), FORMATS), "RGB")[1] == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_a_picture_that_may_be_taken_reads_the_same_and_another_is_left_alone(mode: str) -> None:
    data = png(Image.fromarray(NOISE).convert(mode), dpi=(30, 30))
    given = open_picture(data)
    expected = colours(data)[0]
    for taken in (False, True):
        read, _ = read_picture(given, "RGB", taken)
        assert np.array_equal(np.array(read), expected)
        assert read.info == {}
        assert (read is given) == (taken and mode == "RGB")
        assert ("dpi" in given.info) != (read is given)

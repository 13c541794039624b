"""Decoding: pictures of all kinds become what is wanted of them, and what is wrong with a record is named."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tars import FORM, array, codes, one, picture, pixels
from PIL import Image

import fcs
from fcs.core.notes import CAPTION
from fcs.engine.config import load_config
from fcs.engine.pipeline_loading import record_format
from fcs.shards.input.decode import Format


def test_formats_and_suffixes(tmp_path: Path) -> None:
    for suffix, kind in (
        ("png", "PNG"),
        ("JPG", "JPEG"),
        ("jpeg", "JPEG"),
        ("WebP", "WEBP"),
        ("png", "JPEG"),
    ):
        assert abs(int(array(one(tmp_path, {suffix: picture(100, kind=kind)}))[0, 0, 0]) - 100) <= 2
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        assert codes([one(tmp_path, {"png": picture(kind=kind)})]) == [("k", "bad_image")]


def test_channels(tmp_path: Path) -> None:
    colour = {"png": picture((255, 0, 0), mode="RGB")}
    assert array(one(tmp_path, colour, Format(3, 4, 4)))[:, 0, 0].tolist() == [255, 0, 0]
    assert array(one(tmp_path, colour)).shape == (1, 4, 4)
    grey = array(one(tmp_path, {"png": picture(9)}, Format(3, 4, 4)))
    assert grey.shape == (3, 4, 4)
    assert (grey == 9).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright = np.zeros((4, 4), np.uint8)
        upright[0, 3] = 255  # top right
        stored = {1: (0, 3), 2: (0, 0), 3: (3, 0), 4: (3, 3), 5: (3, 0), 6: (0, 0), 7: (0, 3), 8: (3, 3)}[orientation]
        raw = np.zeros((4, 4), np.uint8)
        raw[stored] = 255
        buffer = io.BytesIO()
        Image.fromarray(raw).save(buffer, "PNG", exif=exif)
        assert (array(one(tmp_path, {"png": buffer.getvalue()}))[0] == upright).all(), orientation


def test_alpha_lies_on_white(tmp_path: Path) -> None:
    form = Format(3, 4, 4)
    assert (array(one(tmp_path, {"png": picture((0, 0, 0, 0), mode="RGBA")}, form)) == 255).all()
    assert (array(one(tmp_path, {"png": picture((0, 0), mode="LA")}, form)) == 255).all()
    assert (array(one(tmp_path, {"png": picture(0, mode="P", transparency=0)}, form)) == 255).all()
    half = array(one(tmp_path, {"png": picture((0, 0, 0, 128), mode="RGBA")}, form))
    assert (half == 127).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.full((4, 4), 25700, np.uint16)
    assert (array(one(tmp_path, {"png": pixels(deep)})) == 100).all()


def test_sizes_and_resize_policies(tmp_path: Path) -> None:
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 2:6] = 200
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 2:4] = 255
    mask[1, 7] = 128
    members = {"png": pixels(wide), "mask.png": pixels(mask)}
    refused = one(tmp_path, members)
    assert refused.error is not None
    assert refused.error.startswith("image_size: 8x4, expected 4x4")
    crop = one(tmp_path, members, Format(1, 4, 4, "crop"))
    assert (array(crop) == 200).all()
    assert crop.mask is not None
    assert crop.mask[0, 0].tolist() == [255, 255, 0, 0]
    pad = one(tmp_path, members, Format(1, 8, 8, "pad"))
    assert pad.mask is not None
    assert (array(pad)[0, 2:6] == wide).all()
    assert (array(pad)[0, [0, 1, 6, 7]] == wide[[2, 1, 2, 1]]).all()
    assert (pad.mask[0, [0, 1, 6, 7]].numpy() == mask[[2, 1, 2, 1]]).all()
    assert (pad.mask[0, 2:6].numpy() == mask).all()
    for resize in ("crop", "pad"):
        for size in ((8, 4), (3, 9), (1, 1), (100, 1), (1, 100), (5, 7)):
            assert array(one(tmp_path, {"png": picture(size=size)}, Format(1, 4, 6, resize))).shape == (
                1,
                4,
                6,
            )  # type: ignore[arg-type]


def test_masks(tmp_path: Path) -> None:
    small = {"png": picture(), "mask.png": picture(size=(4, 3))}
    assert codes([one(tmp_path, small)]) == [("k", "mask_size")]
    form = Format(1, 4, 4, needs_mask=True)
    assert codes([one(tmp_path, {"png": picture()}, form)]) == [("k", "missing_mask")]
    assert codes([one(tmp_path, {"png": picture(), "mask.png": b"?"})]) == [("k", "bad_image")]
    soft = one(tmp_path, {"png": picture(), "mask.png": picture(128)}, form)
    assert soft.mask is not None
    assert soft.mask.dtype == torch.uint8
    assert soft.mask.unique().tolist() == [128]


def test_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (9000, 12000, 65535):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        assert codes([one(tmp_path, {"png": bomb})]) == [("k", "too_large")]
    monkeypatch.setattr("fcs.shards.input.decode.MAX_IMAGE_BYTES", 10)
    assert codes([one(tmp_path, {"png": picture()})]) == [("k", "too_large")]


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    noise = pixels(np.random.default_rng(0).integers(0, 255, (4, 4)).astype(np.uint8))
    for data in (b"", b"junk", noise[: len(noise) // 2], noise[:-30]):
        assert codes([one(tmp_path, {"png": data})]) == [("k", "bad_image")]
    assert codes([one(tmp_path, {"txt": b"x"})]) == [("k", "missing_image")]


def test_what_is_no_picture_is_named_the_same_each_time(tmp_path: Path) -> None:
    assert one(tmp_path, {"png": b"hello"}).error == "bad_image: no PNG, JPEG, WEBP"


def test_text_json_and_seed(tmp_path: Path) -> None:
    found = one(tmp_path, {"png": picture(), "txt": "ein Äpfel\n".encode(), "json": b'{"seed": 3, "x": [1]}'})
    assert (found.prompt, found.extra, found.seed) == ("ein Äpfel", {"seed": 3, "x": [1]}, 3)
    assert one(tmp_path, {"png": picture()}).prompt is None
    assert one(tmp_path, {"png": picture(), "txt": b"told"}, Format(1, 4, 4, captions=False)).prompt is None
    bad = {
        "bad_text": ("txt", [b"\xff"]),
        "bad_json": ("json", [b"{", b"[]", b"[" * 100000, b"\xff"]),
        "bad_seed": (
            "json",
            [b'{"seed": %s}' % s for s in (b"-1", b"1.5", b"true", b'"x"', b'""', b"[1]", b"9223372036854775808")],
        ),
    }
    for code, (suffix, values) in bad.items():
        for data in values:
            assert codes([one(tmp_path, {"png": picture(), suffix: data})]) == [("k", code)], data


def test_a_caption_that_is_not_read_is_noted_where_a_model_would_take_it(tmp_path: Path) -> None:
    takes = replace(FORM, wants_prompt=True)
    told = {"png": picture(), "json": b'{"caption": "a cat", "width": 4}'}
    assert one(tmp_path, told, takes).notes == (CAPTION,)
    assert one(tmp_path, told, takes).prompt is None
    assert one(tmp_path, told).notes == ()
    assert one(tmp_path, told | {"txt": b""}, takes).notes == ()
    for silent in (b'{"caption": " "}', b'{"caption": null, "text": 3}', b"{}"):
        assert one(tmp_path, told | {"json": silent}, takes).notes == ()


@pytest.mark.parametrize(
    ("name", "settings", "wanted"),
    [
        ("emoji_half", [], True),
        ("emoji_half", ["data.prompt=sun"], False),
        ("emoji_half", ["data.captions=false"], False),
        ("digits_half", [], False),
    ],
)
def test_a_prompt_is_wanted_where_it_makes_a_difference(name: str, settings: list[str], wanted: bool) -> None:
    run, _ = load_config.load([name], settings)
    assert record_format(run, fcs.load(run.model.name, device="cpu")).wants_prompt == wanted


def test_what_json_does_not_have_is_handed_on_as_null(tmp_path: Path) -> None:
    text = b'{"a": NaN, "b": [Infinity, {"c": -Infinity}], "d": 1e999, "e": 1.5, "seed": NaN}'
    found = one(tmp_path, {"png": picture(), "json": text})
    assert found.error is None
    assert found.extra == {"a": None, "b": [None, {"c": None}], "d": None, "e": 1.5, "seed": None}
    assert found.seed is None


@pytest.mark.parametrize("spelling", [b"42", b"42.0", b"4.2e1", b'"42"', b'" 42 "', b'"42.0"'])
def test_a_seed_is_a_whole_number_in_any_spelling(tmp_path: Path, spelling: bytes) -> None:
    assert one(tmp_path, {"png": picture(), "json": b'{"seed": %s}' % spelling}).seed == 42

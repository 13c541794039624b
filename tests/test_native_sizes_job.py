"""What jobs/native_sizes.py draws and measures, and what its figures say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sizes.costs import Seconds, apart, cost
from sizes.pairs import models_size, own_size, paired
from sizes.photos import write_folder

import fcs
from fcs.core.crops import cut
from fcs.core.mask_edits import MaskEdits
from fcs.core.native_picture import NativePicture
from fcs.core.pictures import open_picture, upright
from fcs.metrics.seam import seam

FIGURES = json.loads((Path(__file__).parents[1] / "docs" / "figures" / "native_sizes.json").read_text())
PARTS = {"decode", "crop_search", "sample", "paste_and_blend", "score", "encode"}


def test_photographs_have_masks_of_their_upright_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", 8, np.random.default_rng(0))
    files = [path for path in sorted((tmp_path / "in").iterdir()) if ".mask" not in path.name]
    assert len(files) == 8
    stored = []
    for path in files:
        with Image.open(path) as picture:
            stored.append(picture.size)
        mask = np.array(Image.open(path.with_suffix("").with_suffix(".mask.png")))
        assert mask.shape == upright(open_picture(path.read_bytes())).size[::-1]
        assert set(np.unique(mask)) <= {0, 255}
    assert len(set(stored)) == 8
    assert upright(open_picture(files[3].read_bytes())).size == stored[3][::-1]


def test_what_a_process_of_its_own_uses_is_told() -> None:
    def work() -> dict[str, float]:
        seconds = Seconds()
        block = np.ones(200_000_000, np.uint8)  # more than malloc keeps of what was freed before
        for part in ("one", "two", "one"):
            with seconds.of(part):
                block += 1
        return seconds.spent

    # A kernel that takes back pages of the parent's meanwhile lowers the peak, so the most of three counts.
    found = max((apart(work) for _ in range(3)), key=lambda one: one["memory_mb"])
    assert 150 < found["memory_mb"] < 320
    assert found["cpu_seconds"].keys() == {"one", "two"}
    assert all(spent > 0 for spent in found["cpu_seconds"].values())


def test_each_part_of_a_picture_is_paid_for(tmp_path: Path) -> None:
    found = cost(fcs.load("emoji-64", device="cpu"), tmp_path, 0.2, 2, steps=1, repeats=1)
    assert found["cpu_seconds"].keys() == PARTS
    assert found["memory_mb"] > 0


def test_holes_are_paired_picture_by_picture() -> None:
    """A picture whose crop is its own size has the same figures both ways; what the model adds counts once."""
    given = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[12:24, 12:24] = 255
    crops = cut(Image.fromarray(given), mask, (40, 40), 0.25, MaskEdits())
    native = NativePicture(40, 40, crops, lambda: Image.fromarray(given))
    made = given.copy()
    made[mask > 0] = 255
    own, model = own_size(made, given, native), models_size([made], native)
    assert own == model
    expected = seam(*(torch.from_numpy(one)[None] for one in (made.transpose(2, 0, 1), mask[None])))
    assert own[0] == pytest.approx(expected.item(), rel=1e-6)
    brighter = (own[0] + 2, own[1] / 10)
    found = paired({"a": own, "b": own, "c": (math.nan, math.nan)}, {"a": brighter, "b": brighter, "c": model})
    assert found["records"] == 3
    assert found["seam"]["records"] == 2
    assert found["seam"]["difference"] == pytest.approx({"mean": -2, "low": -2, "high": -2})
    assert found["psnr_generated"]["difference"]["mean"] == pytest.approx(-10)


def test_the_figures_say_what_the_page_says() -> None:
    photographs, costs = FIGURES["photographs"], FIGURES["costs"]
    assert photographs["records_equal_outside_their_holes"] == photographs["records"] == 40
    seams = photographs["all"]["seam"]
    assert seams["records"] == 40
    assert seams["difference"]["mean"] < 0 < seams["difference"]["high"] < 0.25  # grey values
    for one in costs:
        seconds = one["cpu_seconds"]
        # What is beyond decoding and encoding grows with the crops that are sampled at once, not with the area.
        assert one["memory_mb"] - one["memory_mb_of_decoding_and_encoding"] < 40 + 10 * one["crops"], one
        assert seconds["paste_and_blend"] + seconds["score"] < 0.05 * one["crops"], one
        assert seconds["crop_search"] < 0.003 * one["megapixels"] + 0.02, one

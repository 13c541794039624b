"""Crops of pictures of any size: which ones, what the model sees of them, and the picture that they complete."""

from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from fcs.core.boxes import Box, whole
from fcs.core.crops import Crop, Pixels, cut
from fcs.core.holes import APART, GRID, MOST, hole_boxes
from fcs.core.mask_edits import MaskEdits
from fcs.core.native_picture import NativePicture
from fcs.metrics.image_scores import scores
from fcs.metrics.native_scores import native_scores
from fcs.tasks import Inpaint

SIZE = (24, 32)  # of a model's pictures, height and width
PLAIN = MaskEdits()


def blobs(height: int, width: int, count: int, seed: int, largest: int = 12) -> Pixels:
    """A mask of ellipses."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[:height, :width]
    for _ in range(count):
        top, left = rng.integers(0, height), rng.integers(0, width)
        a, b = rng.integers(1, largest, 2)
        mask[((y - top) / a) ** 2 + ((x - left) / b) ** 2 <= 1] = 255
    return mask


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Image.Image:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def apart(one: Box, other: Box) -> int:
    """Pixels between two boxes along the axis on which they are further from each other."""
    across = max(one.left - other.right, other.left - one.right)
    return max(across, one.top - other.bottom, other.top - one.bottom)


def native(image: Image.Image, crops: tuple[Crop, ...]) -> NativePicture:
    return NativePicture(image.height, image.width, crops, lambda: image)


# Boxes of holes


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cell", [1, 7, 64])
def test_boxes_hold_all_holes_and_are_those_of_components(cell: int, seed: int) -> None:
    """Exactly around scipy's components, whatever the cells are through which they are found."""
    mask = blobs(200, 300, 6, seed)
    boxes = hole_boxes(mask, cell)
    covered = np.zeros_like(mask)
    for box in boxes:
        covered[box.slices] = 255
    assert not mask[covered == 0].any()
    assert all(apart(*pair) >= APART for pair in combinations(boxes, 2))
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    found = [Box(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(labels)]
    # Each side of a box is that of a component in it: none is larger than it must be.
    for box in boxes:
        inside = [one for one in found if one.shared(box) == one]
        assert box == (
            *(min(one[i] for one in inside) for i in (0, 1)),
            *(max(one[i] for one in inside) for i in (2, 3)),
        )


def test_a_winding_hole_is_one() -> None:
    mask = np.zeros((97, 99), np.uint8)
    mask[::32] = 255
    for row, column in ((0, 98), (32, 0), (64, 98)):
        mask[row : row + 32, column] = 255
    assert hole_boxes(mask, 1) == [whole(99, 97)]
    mask[34:63, 0] = 0
    assert hole_boxes(mask, 1) == [Box(0, 0, 99, 34), Box(0, 63, 99, 97)]


def test_boxes_grow_inside_the_picture() -> None:
    mask = np.zeros((50, 60), np.uint8)
    mask[1, 58] = 1
    assert hole_boxes(mask, 1, reach=3) == [Box(55, 0, 60, 5)]


def test_speckles_all_over_cost_little() -> None:
    """Holes of one pixel everywhere: neither their number nor the picture's size makes many boxes."""
    mask = np.zeros((GRID * 4, GRID * 4), np.uint8)
    mask[::40, ::40] = 255
    assert 1 <= len(hole_boxes(mask, 1)) <= MOST


@pytest.mark.parametrize("hole", ["small", "all"])
def test_a_mask_is_looked_through_without_a_copy(hole: str) -> None:
    mask = np.zeros((4000, 6000), np.uint8)
    mask[(slice(700, 730), slice(900, 950)) if hole == "small" else ...] = 255
    tracemalloc.start()
    (box,) = hole_boxes(mask, 4)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert box == (Box(900, 700, 950, 730) if hole == "small" else whole(6000, 4000))
    assert most < mask.nbytes / 2  # numbers of cells, of which there are never more than GRID squared


def test_no_hole_no_crop() -> None:
    assert cut(noise(50, 60), np.zeros((50, 60), np.uint8), SIZE, 0.25, PLAIN) == ()


# Crops


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(150, 220), (20, 300), (15, 10)])
def test_each_hole_is_in_one_crop_that_holds_it_with_its_margin(size: tuple[int, int], seed: int) -> None:
    height, width = size
    mask, margin = blobs(height, width, 5, seed), 0.25
    crops = cut(noise(height, width), mask, SIZE, margin, PLAIN)
    owned = np.zeros(mask.shape, int)
    for crop in crops:
        scale = max(crop.frame.height / SIZE[0], crop.frame.width / SIZE[1])
        assert scale >= 1
        assert crop.frame.width / SIZE[1] == pytest.approx(scale, abs=1 / SIZE[1])
        for hole in crop.holes:
            assert hole.box.shared(crop.frame) == hole.box
            owned[hole.box.slices] += 1
            assert np.array_equal(hole.mask, mask[hole.box.slices])
        for first, last, start, stop, most in (
            (min(h.box.left for h in crop.holes), max(h.box.right for h in crop.holes), *crop.frame[::2], width),
            (min(h.box.top for h in crop.holes), max(h.box.bottom for h in crop.holes), *crop.frame[1::2], height),
        ):
            wanted = margin * (last - first) / (1 - 2 * margin)
            # A pixel may be lost on either side where a frame's middle is half a pixel beside the hole's.
            assert start <= max(0, first - wanted + 1)
            assert stop >= min(most, last + wanted - 1)
            assert start <= 0 or stop <= most  # it leaves the picture only where that is smaller
    assert (owned[mask > 0] == 1).all()


def test_near_holes_share_a_crop_and_far_ones_do_not() -> None:
    mask = np.zeros((200, 300), np.uint8)
    for top, left in ((10, 10), (14, 26), (150, 250)):
        mask[top : top + 3, left : left + 3] = 255
    crops = cut(noise(200, 300), mask, SIZE, 0.1, PLAIN)
    assert [len(crop.holes) for crop in crops] == [1, 1] or sorted(len(crop.holes) for crop in crops) == [1, 2]
    assert len(crops) == 2
    assert all((crop.frame.height, crop.frame.width) == SIZE for crop in crops)


def test_a_crop_at_scale_one_is_the_picture_itself() -> None:
    image, mask = noise(100, 120), blobs(100, 120, 1, 3, largest=5)
    (crop,) = cut(image, mask, SIZE, 0.25, PLAIN)
    there = torch.from_numpy(np.array(image)[crop.frame.slices].transpose(2, 0, 1))
    assert torch.equal(crop.image, there)
    assert torch.equal(crop.mask[0], torch.from_numpy(mask[crop.frame.slices]))


@pytest.mark.parametrize("size", [(170, 230), (9, 40), (1, 1), (1, 90)])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_known_holds_nothing_of_what_is_hidden(size: tuple[int, int], channels: int) -> None:
    """Two pictures that differ under the mask alone look the same where the model is told that it knows them."""
    height, width = size
    mask = blobs(height, width, 3, seed=1, largest=60)
    one, other = noise(height, width, channels), np.array(noise(height, width, channels, seed=1))
    other[mask == 0] = np.array(one)[mask == 0]
    assert mask.any()
    seen = [cut(image, mask, SIZE, 0.2, PLAIN) for image in (one, Image.fromarray(other))]
    for first, second in zip(*seen, strict=True):
        assert first.frame == second.frame
        assert first.image.shape == (channels, *SIZE)
        known = (first.mask == 0).expand_as(first.image)
        assert torch.equal(first.image[known], second.image[known])


def test_a_small_picture_is_mirrored_and_its_hole_too() -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[:2] = 255
    (crop,) = cut(noise(10, 20), mask, SIZE, 0.25, PLAIN)
    assert crop.frame == Box(-6, -7, 26, 17)
    inside = crop.mask[0, 7:17, 6:26]
    assert torch.equal(inside, torch.from_numpy(mask))
    assert (crop.mask[0, 6, 6:26] == 255).all()  # the row beside the first mirrors the second


def test_masks_grow_in_the_pictures_own_pixels() -> None:
    mask = blobs(90, 120, 3, seed=2)
    edits = MaskEdits(grow=3, feather=4)
    crops = cut(noise(90, 120), mask, SIZE, 0.25, edits)
    expected = edits.spread(torch.from_numpy(mask)[None])[0].numpy()
    assert np.array_equal(native(noise(90, 120), crops).mask_in(whole(120, 90)), expected)


# The whole picture again


def made_of(crops: tuple[Crop, ...], value: int) -> list[Tensor]:
    return [torch.full_like(crop.image, value) for crop in crops]


def completed(image: Image.Image, crops: tuple[Crop, ...], made: list[Tensor], seam: str = "hard") -> Pixels:
    blend = Inpaint(seam=seam).blend  # type: ignore[arg-type]
    found = native(image, crops).completed(image.copy(), made, blend)
    assert np.array_equal(np.array(found.given(whole(*image.size))), np.array(image))
    return np.array(found.picture)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seam", ["blend", "hard"])
def test_outside_the_holes_every_pixel_is_as_given(channels: int, seam: str) -> None:
    image, mask = noise(150, 200, channels), blobs(150, 200, 5, seed=4, largest=40)
    crops = cut(image, mask, SIZE, 0.2, PLAIN)
    assert any(crop.frame.width > SIZE[1] for crop in crops)
    found = completed(image, crops, made_of(crops, 90), seam)
    assert found.shape == np.array(image).shape
    assert np.array_equal(found[mask == 0], np.array(image)[mask == 0])
    if seam == "hard":
        assert (found[mask > 0] == 90).all()


def test_a_soft_mask_blends_once() -> None:
    image, mask = noise(60, 80), np.zeros((60, 80), np.uint8)
    mask[20:30, 20:30] = 128
    crops = cut(image, mask, SIZE, 0.25, PLAIN)
    found = completed(image, crops, made_of(crops, 200))
    given = np.array(image)[mask > 0].astype(np.float32)
    assert np.array_equal(found[mask > 0], np.round(given + np.float32(128 / 255) * (200 - given)))


def test_what_a_crop_makes_comes_to_its_place_at_any_scale() -> None:
    """A picture whose colours are its coordinates comes back as far as reducing and enlarging keep them."""
    y, x = np.mgrid[:160, :200]
    image, mask = Image.fromarray((x + y).clip(0, 255).astype(np.uint8)), blobs(160, 200, 2, seed=5, largest=60)
    crops = cut(image, mask, SIZE, 0.2, PLAIN)
    assert max(crop.frame.width for crop in crops) > 2 * SIZE[1]
    found = completed(image, crops, [crop.image for crop in crops])
    assert np.abs(found.astype(int) - np.array(image))[mask > 0].mean() < 1.5  # rounding twice, and the mirrored edge


# Scores without the rest of the picture


@pytest.mark.parametrize("size", [(120, 160), (30, 12), (8, 60), (300, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_are_those_of_the_whole_picture(size: tuple[int, int], channels: int) -> None:
    image = noise(*size, channels)
    mask = blobs(*size, 4, seed=6, largest=6)
    mask[0, 0] = 255
    crops = cut(image, mask, SIZE, 0.25, PLAIN)
    whole_picture = native(image, crops)
    found = whole_picture.completed(image.copy(), made_of(crops, 120), Inpaint(seam="hard").blend)

    def tensor(picture: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(picture)).reshape(1, *size, -1).permute(0, 3, 1, 2)

    hidden = torch.from_numpy(mask)[None, None]
    for shown, exact in ((found.picture, True), (ImageOps.invert(found.picture), False)):
        (expected,) = scores(tensor(shown), tensor(image), hidden)
        made = native_scores(shown, found, whole_picture, exact, scored=True)
        missing = {name: None for name, value in expected.items() if value is None}
        assert {name: value for name, value in made.items() if value is None} == missing
        for name in expected.keys() - missing.keys():
            assert made[name] == pytest.approx(expected[name], abs=1e-4, rel=1e-4)
    assert native_scores(found.picture, found, whole_picture, True, scored=False)["psnr"] is None

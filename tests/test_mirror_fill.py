"""Holes that continue as the mirror image of what is beside them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers.filled import SHAPES, rand, scattered
from scipy.ndimage import distance_transform_edt

from fcs.core.images import fill_holes
from fcs.core.mirror_fill import NONE, mirror_holes, nearest_known


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_known_pixels_stay_and_hidden_ones_are_never_seen(height: int, width: int) -> None:
    known, seen = scattered(3, height, width), rand(3, 2, height, width)
    hidden = torch.where(known == 1, seen, 7 * rand(3, 2, height, width, seed=1))
    filled = mirror_holes(seen, known)
    assert torch.equal(filled * known, seen * known)
    assert torch.equal(mirror_holes(hidden, known), filled)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("back", [False, True])
def test_beyond_an_edge_lies_the_reflection(axis: int, back: bool) -> None:
    """As torch pads by reflection, whose size the edge's own line does not count in either."""
    picture = rand(2, 3, 9, 9)
    padding = (0, 4, 0, 0) if axis == 3 else (0, 0, 0, 4)
    padded = F.pad(picture.narrow(axis, 0, 5), padding, mode="reflect")
    known = torch.ones(2, 1, 9, 9)
    known.narrow(axis, 5, 4).zero_()
    if back:
        picture, padded, known = (tensor.flip(axis) for tensor in (picture, padded, known))
    assert torch.equal(mirror_holes(picture, known), padded)


def test_what_no_reflection_reaches_is_smooth() -> None:
    """A line that is known a pixel deep: everything but its neighbours would be seen in the hole."""
    picture, known = rand(1, 1, 1, 12), torch.zeros(1, 1, 1, 12)
    known[..., 0:2] = 1
    filled = mirror_holes(picture, known)
    assert filled[..., 2] == picture[..., 0]
    assert filled[..., 3] == picture[..., 1]  # folded at the picture's edge
    assert torch.equal(filled[..., 4:12], fill_holes(picture, known)[..., 4:12])


def test_the_contrast_of_what_is_known_goes_on_in_the_hole() -> None:
    """What an encoder's normalisation sees: a smooth fill has hardly any."""
    stripes = torch.tensor([1.0, -1.0]).repeat(16).expand(1, 1, 32, 32).clone()
    known = torch.zeros(1, 1, 32, 32)
    known[..., :16] = 1
    assert torch.equal(mirror_holes(stripes, known).square(), torch.ones(1, 1, 32, 32))
    assert fill_holes(stripes, known)[..., 20:].square().mean() < 0.1


def test_nothing_known_is_grey_and_all_known_stays() -> None:
    picture = rand(2, 3, 8, 8)
    known = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    assert torch.equal(mirror_holes(picture, known), torch.stack([torch.zeros(3, 8, 8), picture[1]]))


def test_a_picture_never_depends_on_its_batch() -> None:
    pictures, known = rand(3, 1, 16, 16), scattered(3, 16, 16)
    together = mirror_holes(pictures, known)
    for row in range(3):
        assert torch.equal(together[row : row + 1], mirror_holes(pictures[row : row + 1], known[row : row + 1]))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5])
def test_the_nearest_known_pixel(share: float) -> None:
    known = torch.rand((4, 60, 90), generator=torch.Generator().manual_seed(0)) < share
    known[:, 20:30] = False
    rows, columns = nearest_known(known)
    assert known.flatten(1).gather(1, (90 * rows + columns).long().flatten(1)).all()
    row, column = torch.arange(60).view(60, 1), torch.arange(90)
    away = ((rows - row) ** 2 + (columns - column) ** 2).double().sqrt()
    least = torch.stack([torch.from_numpy(distance_transform_edt(~mask.numpy())) for mask in known])
    assert (away - least).min() > -1e-9
    assert (away - least).max() < 1  # jump flooding seldom finds a neighbour of the nearest
    assert ((away - least) > 1e-9).double().mean() < 1e-3


def test_no_known_pixel_has_no_nearest() -> None:
    rows, columns = nearest_known(torch.zeros(1, 5, 7, dtype=torch.bool))
    assert (rows == NONE).all()
    assert (columns == NONE).all()

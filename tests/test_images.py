"""Pictures as tensors: bytes survive, holes are filled from what is given alone."""

import pytest
import torch
from helpers.filled import SHAPES, rand, scattered

from fcs.core.images import fill_holes, paste, to_float, to_uint8, without_seam


def test_every_byte_survives_the_round_trip() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = to_float(bytes_)
    assert floats.dtype == torch.float32
    assert (floats.min(), floats.max()) == (-1, 1)
    assert torch.equal(to_uint8(floats), bytes_)


def test_bytes_are_clipped_and_rounded() -> None:
    assert to_uint8(torch.tensor([-9.0, 9.0, -1 + 0.6 / 127.5, 0.0])).tolist() == [0, 255, 1, 128]


def test_paste_keeps_blends_and_replaces() -> None:
    made, given = (torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8) for _ in range(2))
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    mask[..., 3:5], mask[..., 5:] = 51, 255  # 51 of 255 is a fifth
    pasted = paste(made, given, mask)
    assert torch.equal(pasted[..., :3], given[..., :3])
    assert torch.equal(pasted[..., 5:], made[..., 5:])
    fifth = 0.8 * given[..., 3:5].double() + 0.2 * made[..., 3:5].double()
    assert (pasted[..., 3:5].double() - fifth).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_filling_keeps_the_known_pixels(height: int, width: int) -> None:
    pictures, known = rand(3, 2, height, width), scattered(3, height, width)
    filled = fill_holes(pictures, known)
    assert torch.equal(filled * known, pictures * known)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_filling_never_looks_at_hidden_pixels(height: int, width: int) -> None:
    known = scattered(3, height, width)
    seen = rand(3, 2, height, width)
    hidden = torch.where(known == 1, seen, 7 * rand(3, 2, height, width, seed=1))
    assert torch.equal(fill_holes(seen, known), fill_holes(hidden, known))


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_filling_continues_one_colour_as_that_colour(height: int, width: int) -> None:
    known = torch.zeros(1, 1, height, width)
    known[..., : (height + 1) // 2, : (width + 1) // 2] = 1
    pictures = torch.full((1, 1, height, width), 0.7)
    torch.testing.assert_close(fill_holes(pictures, known), pictures)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_filling_stays_between_the_known_values(height: int, width: int) -> None:
    pictures, known = rand(3, 1, height, width) + 3, scattered(3, height, width)
    filled = fill_holes(pictures, known)
    for row in range(3):
        values = pictures[row][known[row] == 1]
        assert filled[row].min() >= values.min() - 1e-5
        assert filled[row].max() <= values.max() + 1e-5


def test_filling_nothing_known_is_grey() -> None:
    assert torch.equal(fill_holes(rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)), torch.zeros(1, 3, 8, 8))


def test_filling_rows_are_independent() -> None:
    pictures, known = rand(3, 1, 16, 16), scattered(3, 16, 16)
    together = fill_holes(pictures, known)
    for row in range(3):
        assert torch.equal(together[row : row + 1], fill_holes(pictures[row : row + 1], known[row : row + 1]))


def test_filling_between_two_edges_is_nearly_harmonic() -> None:
    """Between a black and a white column the harmonic continuation is a straight ramp."""
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 16, 33)
    known = torch.zeros(1, 1, 16, 33)
    known[..., 0] = known[..., -1] = 1
    assert (fill_holes(ramp, known) - ramp).abs().max() < 0.1


def test_a_picture_off_by_a_constant_has_no_seam_left() -> None:
    given, known = rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    known[..., 8:] = 0
    torch.testing.assert_close(without_seam(given - 0.3, given, known), given)


def test_without_seam_meets_the_given_pixels_and_keeps_a_free_picture() -> None:
    made, given = rand(2, 3, 16, 16), rand(2, 3, 16, 16, seed=1)
    known = scattered(2, 16, 16)
    matched = without_seam(made, given, known)
    torch.testing.assert_close(known * matched, known * given)
    assert torch.equal(without_seam(made, given, torch.zeros(2, 1, 16, 16)), made)

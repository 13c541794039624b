"""The recipe that measures what a hole's content does to the latents of the known part."""

from __future__ import annotations

import pytest
import torch
from helpers.networks import Flat
from hole_latents import measure, records, rings
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.package_files import PACKAGE


class Normalising(Flat):
    """An encoder that divides by the whole picture's contrast, as group normalisation does."""

    def encode(self, pictures: Tensor) -> Tensor:
        return super().encode(pictures / pictures.std((1, 2, 3), correction=0, keepdim=True))


@pytest.fixture
def stripes() -> Tensor:
    """Pictures that a reflection continues exactly: stripes of two pixels."""
    return torch.tensor([1.0, 1, -1, -1]).repeat(4).view(16, 1).expand(2, 3, 16, 16)


@pytest.fixture
def known() -> Tensor:
    right = torch.ones(2, 1, 16, 16)
    right[..., 8:] = 0
    return right


def test_local_encoders_do_not_see_the_hole(stripes: Tensor, known: Tensor) -> None:
    assert measure(Flat(2), stripes, known)["off"] == {"grey": 0, "fill": 0, "mirror": 0}


def test_normalising_encoders_do(stripes: Tensor, known: Tensor) -> None:
    """Half a grey picture has half the variance, so that the known half is sqrt(2) times what it should be."""
    found = measure(Normalising(2), stripes, known)
    assert found["latents"] == 1
    assert found["off"]["grey"] == pytest.approx(2**0.5 - 1, abs=1e-4)
    assert found["off"]["mirror"] == 0
    assert found["off_by_distance"]["grey"] == pytest.approx([2**0.5 - 1] * 4 + [None], abs=1e-4)


def test_rings_are_every_known_cell_once() -> None:
    unknown = (torch.rand((3, 1, 20, 20), generator=torch.Generator().manual_seed(0)) < 0.01).float()
    assert torch.equal(sum(ring.float() for ring in rings(unknown)), 1 - unknown)


def test_no_records_are_named() -> None:
    with pytest.raises(UsageError, match=r"none\*.tar: expected a glob that matches shards"):
        records("none*.tar", 3, (3, 64, 64))
    with pytest.raises(UsageError, match=r"faces/half\.tar: expected a whole record of 32x32 with its mask"):
        records(str(PACKAGE / "samples/faces/half.tar"), 3, (3, 32, 32))


def test_records_are_those_of_shards() -> None:
    pictures, known = records(str(PACKAGE / "samples/faces/half.tar"), 3, (3, 64, 64))
    assert (pictures.shape, known.shape) == ((3, 3, 64, 64), (3, 1, 64, 64))
    assert (pictures.min().item(), pictures.max().item()) == (-1, 1)
    assert known.mean().item() == 0.5

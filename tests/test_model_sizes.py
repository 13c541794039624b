"""Models at other sizes than the one that they were trained at, and not square."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fcs
from fcs.core.errors import UsageError
from fcs.engine.record_sizes import bucket_models
from fcs.models import Model
from fcs.tasks import Inpaint, Superres


@pytest.mark.parametrize("name", ["emoji-64", "faces-64"])
def test_embedded_models_take_other_sizes(name: str) -> None:
    model = fcs.load(name, device="cpu", size=(48, 80))
    picture = np.random.default_rng(0).integers(0, 256, (48, 80, 3)).astype(np.uint8)
    mask = np.zeros((48, 80), np.uint8)
    mask[10:30, 50:70] = 255
    made = fcs.inpaint(model, picture, mask, steps=1, sampler="ddim", progress=False)
    result = np.array(made.images[0])
    assert result.shape == (48, 80, 3)
    assert np.array_equal(result[mask == 0], picture[mask == 0])
    assert (result != picture).any()
    with pytest.raises(UsageError, match=r"^model\.size=\[50, 64\]: expected multiples of 16"):
        fcs.load(name, device="cpu", size=(50, 64))


def test_a_model_at_another_size_shares_its_weights(latent_model: Model) -> None:
    wide = latent_model.at(48, 96)
    assert wide.picture_shape == (3, 48, 96)
    assert wide.shape == (4, 12, 24)
    assert latent_model.picture_shape == (3, 64, 64)
    assert all(one is other for one, other in zip(latent_model.parameters(), wide.parameters(), strict=True))
    z = torch.zeros(1, *wide.shape)
    assert wide.decode(z).shape == (1, *wide.picture_shape)
    with pytest.raises(UsageError, match="multiples of 8"):
        latent_model.at(50, 64)


def test_a_pixel_model_keeps_its_size(digits: Model) -> None:
    assert digits.at(16, 16).shape == digits.shape
    with pytest.raises(UsageError, match="the model's own"):
        digits.at(32, 32)
    with pytest.raises(UsageError, match="one size"):
        bucket_models(digits, Inpaint())


def test_buckets_have_about_the_models_area_and_each_shape_once(latent_model: Model) -> None:
    sizes = [model.picture_shape[1:] for model in bucket_models(latent_model, Inpaint()).values()]
    assert sizes[0] == (64, 64)
    assert len(set(sizes)) == len(sizes) == 7
    assert {size[::-1] for size in sizes} == set(sizes)
    assert all(0.9 < height * width / 64**2 < 1.15 for height, width in sizes)
    assert not any(side % 8 for size in sizes for side in size)
    small = bucket_models(latent_model, Superres(4))
    assert list(small) == [(height // 4, width // 4) for height, width in sizes]
    with pytest.raises(UsageError, match=r"task\.scale=16: expected a divisor of"):
        bucket_models(latent_model, Superres(16))

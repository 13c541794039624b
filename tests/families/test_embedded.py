"""Trained models of Stable Diffusion's layout give the same through a pipeline's call as on their own path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import fcs
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.loading import EMBEDDED

pytestmark = pytest.mark.families


@pytest.mark.parametrize("name", ["emoji-64", "faces-64-flow"])
def test_both_ways_are_one(name: str) -> None:
    options = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED / name, local_files_only=True, **options)
    own, called = fcs.load(name, device="cpu"), DiffusersPipeline(pipe)
    assert called.picture_shape == own.picture_shape
    picture = torch.rand(1, *own.picture_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(called.encode(picture), own.encode(picture), rtol=0, atol=1e-5)
    torch.testing.assert_close(called.decode(own.encode(picture)), own.decode(own.encode(picture)), rtol=0, atol=1e-5)
    x, level = torch.randn(2, *own.shape, generator=torch.Generator().manual_seed(1)), own.schedule.levels(10)[4]
    prompts = ["a red apple", "a smile"]
    for scale in (1.0, 3.0):
        with torch.no_grad():
            made = [model.guided(prompts, "blue", scale)(x, level) for model in (own, called)]
        torch.testing.assert_close(*made, rtol=0, atol=1e-4)


def test_a_picture_of_emoji_is_the_same_both_ways() -> None:
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED / "emoji-64", local_files_only=True, safety_checker=None)
    image = np.full((64, 64, 3), 255, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    models = fcs.load("emoji-64", device="cpu"), DiffusersPipeline(pipe)
    made = [fcs.inpaint(model, image, mask, "red apple", steps=2, progress=False).images[0] for model in models]
    one, other = (np.asarray(picture).astype(int) for picture in made)
    # Rounding is enlarged by differences over .005, twenty times over.
    assert abs(one - other).max() <= 8

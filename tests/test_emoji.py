"""emoji-64: Stable Diffusion's own format, small enough to ship, and the main job on it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import fcs
from fcs.core.collate import collate
from fcs.core.constraints import Measured
from fcs.core.images import to_float
from fcs.core.operators import Downsample, GaussianBlur, Grey, Operator
from fcs.core.per_sample import dot
from fcs.core.records import Record
from fcs.models import Model
from fcs.models.clip import ImageTower
from fcs.tasks import Restore
from fcs.tasks.restore import Error

FOLDER = Path(fcs.__file__).parent / "weights" / "emoji-64"
SAMPLES = Path(fcs.__file__).parent / "samples" / "emoji"


@pytest.fixture(scope="module")
def emoji() -> Model:
    return fcs.load("emoji-64")


def test_diffusers_loads_the_folder_unchanged_and_samples_alike(emoji: Model) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(1, *emoji.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([500.0])
    ours = emoji.denoiser.network(latents, t, emoji.text(["red apple"]))  # type: ignore[attr-defined]
    embeddings, _ = pipeline.encode_prompt("red apple", "cpu", 1, False)
    theirs = pipeline.unet(latents, t, embeddings).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_small_enough_to_ship() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) < 9e6
    assert sum(sizes) < 25e6
    card = json.loads((FOLDER / "card.json").read_text())
    assert card["parameters"]["unet"] <= 6e6
    assert card["parameters"]["vae"] <= 2e6
    assert card["parameters"]["clip"] <= 2e6


def test_the_codec_and_the_towers_agree(emoji: Model) -> None:
    assert emoji.shape == (4, 16, 16)
    assert emoji.picture_shape == (3, 64, 64)
    assert ImageTower(FOLDER / "clip").blocks >= 3


@pytest.mark.parametrize("operator", [Downsample(4), GaussianBlur(1.0), Grey()])
def test_errors_through_the_trained_codec_point_downhill(operator: Operator, emoji: Model) -> None:
    with tarfile.open(SAMPLES / "unseen.tar") as tar:
        names = [name for name in tar.getnames() if name.count(".") == 1 and name.endswith(".png")][:4]
        pictures = [np.array(Image.open(tar.extractfile(name))) for name in names]  # type: ignore[arg-type]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    records = [Record(i, str(i), image) for i, image in enumerate(images)]
    batch = collate("s", 0, records, emoji.picture_shape, 0)
    # From another picture's latents, the error must lead towards this one's measurement.
    z = emoji.encode(to_float(images.roll(1, 0)))
    for error in get_args(Error):
        constraint = Restore(operator, degrade=True, error=error).constraint(batch, emoji)
        downhill = Measured.error(constraint, z)  # type: ignore[arg-type]
        assert (dot(constraint.error(z), downhill) > 0).all()


def test_python(emoji: Model) -> None:
    grey = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    result = fcs.inpaint(emoji, grey, mask, prompt="red apple", steps=2)
    kept = np.asarray(result.images[0])[:, :32]
    assert (kept == 128).all()

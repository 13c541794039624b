"""emoji-64: Stable Diffusion's own format, small enough to ship, and the main job on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

import fcs
from fcs.cli.predict import main
from fcs.clip import ImageTower
from fcs.models import Model

FOLDER = Path(fcs.__file__).parent / "weights" / "emoji-64"


@pytest.fixture(scope="module")
def emoji() -> Model:
    return fcs.load("emoji-64")


def test_diffusers_loads_the_folder_unchanged_and_samples_alike(emoji: Model) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    latents = torch.randn(1, *emoji.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([500.0])
    ours = emoji.denoiser.network(latents, t, emoji.embed(["red apple"]))  # type: ignore[attr-defined]
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


@pytest.mark.parametrize("config", ["emoji_inpaint", "emoji_superres"])
def test_configs_run(config: str, tmp_path: Path) -> None:
    assert main(["--config", config, f"out={tmp_path}/o", "data.limit=2", "data.batch_size=2", "steps=2"]) == 0
    (metrics,) = (tmp_path / "o" / "metrics").glob("*.parquet")
    assert [row["status"] for row in pq.read_table(metrics).to_pylist()] == ["ok"] * 2


def test_python(emoji: Model) -> None:
    grey = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    result = fcs.inpaint(emoji, grey, mask, prompt="red apple", steps=2)
    kept = np.asarray(result.images[0])[:, :32]
    assert (kept == 128).all()

"""A UNet that was tuned for inpainting: shown what diffusers shows it, walked by any sampler."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from helpers.tiny_models import with_channels
from PIL import Image
from torch import Tensor

import fcs
from fcs.core.collate import collate
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.core.per_sample import RecordNoise
from fcs.core.records import Batch, Record
from fcs.models import Model, find, load
from fcs.models.inpainting import StableDiffusionInpaint
from fcs.samplers import DDIM, InexactNewton, Replacement, Sampler
from fcs.tasks import Inpaint, Superres
from fcs.tasks.pipeline import Pipeline


@pytest.fixture(scope="module")
def folder(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_channels(tiny_sd, tmp_path_factory.mktemp("models") / "inpaint", 9)


@pytest.fixture(scope="module")
def model(folder: Path) -> StableDiffusionInpaint:
    found = load(find(str(folder)))
    assert isinstance(found, StableDiffusionInpaint)
    return found


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Two pictures with different masks: a half, and a box off the cells' grid with grey around it."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    masks[0, ..., 32:] = 255
    masks[1, :, 6:51, 9:38] = 127
    masks[1, :, 10:47, 13:34] = 255
    records = [
        Record(i, str(i), *pair, prompt=text, seed=7 + i)
        for i, (pair, text) in enumerate(zip(zip(pictures, masks, strict=True), ("red", ""), strict=True))
    ]
    return collate("s", 0, records, (3, 64, 64), 0)


def seen(model: StableDiffusionInpaint, batch: Batch) -> Tensor:
    """What the network must be shown, by indexing."""
    hole = batch.masks > 127
    picture = torch.where(hole, 0.0, to_float(batch.images))
    latents = model.vae.encode(picture).latent_dist.mean * 0.18215
    return torch.cat([hole[..., ::4, ::4].float(), latents], 1)


@torch.no_grad()
def test_plain_sampling_is_the_loop_written_out(model: StableDiffusionInpaint, batch: Batch) -> None:
    unet, beside = model.denoiser.network.unet, seen(model, batch)
    levels, noise = model.schedule.levels(4), RecordNoise(batch.seeds)
    x = levels[0].sigma * noise((4, 16, 16))
    for t, s in pairwise(levels):
        eps = unet(torch.cat([x, beside], 1), torch.full((2,), t.t), model.text(["red", ""])).sample
        x0 = (x - t.sigma * eps) / t.alpha
        x = s.alpha * x0 + max(s.sigma**2 - s.noise_std**2, 0) ** 0.5 * eps
        x = x + s.noise_std * noise((4, 16, 16)) if s.noise_std else x
    result = Pipeline(model, Inpaint(paste=False), DDIM(), 4)(batch)
    assert (result.images.int() - to_uint8(model.decode(x)).int()).abs().max() <= 1
    assert result.calls == (4, 4)
    blind = model.guided(batch.prompts)(x, levels[1]), model.guided(batch.prompts)
    seeing = replace(blind[1], concat_cond=beside)
    assert not torch.allclose(blind[0], seeing(x, levels[1]), atol=1e-3)


def test_diffusers_own_pipeline_gives_the_same(
    folder: Path, model: StableDiffusionInpaint, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    options = {"timestep_spacing": "trailing", "set_alpha_to_one": True}
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **options)
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    start = RecordNoise(batch.seeds)((4, 16, 16))
    pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in batch.images]
    masks = [Image.fromarray(np.asarray(mask[0])) for mask in batch.masks]
    theirs = pipeline(
        ["red", "ap"], pictures, masks, num_inference_steps=4, guidance_scale=2.5, latents=start, output_type="latent"
    )
    levels = [level._replace(noise_std=0.0) for level in model.schedule.levels(4)]
    guided = replace(model.guided(["red", "ap"], "", 2.5), concat_cond=Inpaint().concat_cond(batch, model))
    with torch.no_grad():
        ours = DDIM()(start, levels, guided, Inpaint().constraint(batch, model), RecordNoise(batch.seeds))
    assert [level.t for level in levels[:-1]] == pipeline.scheduler.timesteps.tolist()
    torch.testing.assert_close(ours, theirs.images, rtol=1e-3, atol=1e-3)


def test_a_task_without_masks_shows_that_all_is_to_be_generated(model: StableDiffusionInpaint, batch: Batch) -> None:
    assert Superres(4).concat_cond(batch, model) is None
    shown = model.guided(["", "red"]).concat_cond
    assert shown is not None
    assert (shown[:, :1] == 1).all()
    with torch.no_grad():
        grey = model.encode(torch.zeros(1, 3, 64, 64)).expand(2, -1, -1, -1)
    torch.testing.assert_close(shown[:, 1:], grey)


@pytest.mark.parametrize("sampler", [InexactNewton(step_sizes=[0.3]), Replacement()], ids=["newton", "replacement"])
def test_other_samplers_walk_it_too(sampler: Sampler, model: StableDiffusionInpaint, batch: Batch) -> None:
    result = Pipeline(model, Inpaint(), sampler, 2, guidance=2.0)(batch)
    assert result.finite == (True, True)
    assert result.calls == (sampler.calls(2),) * 2
    alone = Pipeline(model, Inpaint(), sampler, 2, guidance=2.0)(batch.part(1, 2))
    assert (alone.images.int() - result.images[1:].int()).abs().max() <= 2


def test_from_python(folder: Path) -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    made = fcs.inpaint(fcs.load(str(folder), device="cpu"), grey, mask, steps=2, sampler=DDIM())
    assert (np.asarray(made.images[0])[:, :32] == 90).all()


def test_other_networks_are_shown_nothing(latent_model: Model, batch: Batch) -> None:
    assert Inpaint().concat_cond(batch, latent_model) is None
    assert latent_model.guided(["", ""]).concat_cond is None


def test_a_unet_of_other_channels_is_one_line(tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="5 input channels: expected 4, or 9 of one tuned for inpainting"):
        load(find(str(with_channels(tiny_sd, tmp_path / "five", 5))))

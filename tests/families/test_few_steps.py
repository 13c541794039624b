"""Models of a few steps: their own levels, more moves at each, and LATINO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

import fcs
from families import parts
from families.builders import BETAS, FAMILIES, SAFE, flow, seeded, unet
from fcs.core.constraints import Known
from fcs.core.errors import UsageError
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.stable_diffusion import StableDiffusion
from fcs.samplers.ddim import DDIM
from fcs.samplers.inexact_newton import InexactNewton

pytestmark = [
    pytest.mark.families,
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),  # within diffusers
]
STEPS = 4
PROMPT = "a red apple"
SIZE = (32, 32)


@seeded
def lcm() -> Any:
    """A latent consistency model: its network is told the scale of guidance."""
    return diffusers.LatentConsistencyModelPipeline(
        parts.autoencoder(),
        parts.clip_text(),
        parts.clip_tokenizer(),
        unet(time_cond_proj_dim=8),
        diffusers.LCMScheduler(**BETAS),
        **SAFE,
    )


def turbo() -> Any:
    """SD-Turbo's layout: Euler's steps at trailing levels."""
    pipe = copy(FAMILIES["sd1"]())
    betas = {name: value for name, value in BETAS.items() if name != "clip_sample"}
    pipe.register_modules(scheduler=diffusers.EulerDiscreteScheduler(**betas, timestep_spacing="trailing"))
    return pipe


def schnell() -> Any:
    """Flux-schnell's: a flow whose levels are not shifted."""
    pipe = copy(FAMILIES["flux"]())
    pipe.register_modules(scheduler=flow(shift=1.0))
    return pipe


def noise(model: Any, seed: int = 0) -> Tensor:
    return torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(seed))


def test_a_consistency_model_is_sampled_as_its_pipeline_does() -> None:
    pipe = lcm()
    model = fcs.load(pipe, size=SIZE)
    assert isinstance(model, DiffusersPipeline)
    assert model.schedule.consistency
    x = noise(model)
    given = {"latents": x, "generator": torch.Generator().manual_seed(1), "height": 32, "width": 32}
    own = pipe(PROMPT, num_inference_steps=STEPS, output_type="pt", **given)[0]
    levels = model.schedule.levels(STEPS)
    assert [level.t for level in levels[:-1]] == pipe.scheduler.timesteps.tolist()
    assert [level.noise_std for level in levels] == [level.sigma for level in levels]
    generator = torch.Generator().manual_seed(1)

    def randn(shape: Sequence[int]) -> Tensor:
        return torch.randn(1, *shape, generator=generator)

    x0 = DDIM()(x, levels, model.guided([PROMPT]), Known(x, torch.zeros_like(x)), randn)
    # LCM weighs x_0 by a factor that is 1 to 4e-8 at these levels; the rest is rounding.
    torch.testing.assert_close((model.decode(x0) / 2 + 0.5).clamp(0, 1), own, rtol=0, atol=2e-5)


def test_more_of_its_levels_than_it_was_distilled_at(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\Asteps=51: expected what LatentConsistencyModelPipeline takes [^\n]*\Z"):
        fcs.load(lcm(), size=SIZE).schedule.levels(51)
    own = fcs.load(with_lcm_scheduler())
    assert isinstance(own, StableDiffusion)
    with pytest.raises(UsageError, match=r"\Asteps=51: expected 1 to 50, at which the network was distilled\Z"):
        own.schedule.levels(51)


def with_lcm_scheduler() -> Any:
    """Stable Diffusion with LCM's scheduler, as after its LoRA was merged."""
    pipe = copy(FAMILIES["sd1"]())
    pipe.register_modules(scheduler=diffusers.LCMScheduler(**BETAS))
    return pipe


def test_a_network_that_is_told_guidance_goes_through_its_call(tmp_path: Path) -> None:
    """Stable Diffusion's own path would leave that out."""
    lcm().save_pretrained(tmp_path / "lcm")
    model = fcs.load(tmp_path / "lcm", device="cpu")
    assert isinstance(model, DiffusersPipeline)
    x, level = noise(model), model.schedule.levels(STEPS)[1]
    made = [model.guided([PROMPT], scale=scale)(x, level) for scale in (1.0, 8.5, 2.0)]
    assert torch.equal(made[0], made[1])  # the pipeline's own scale
    assert not torch.allclose(made[0], made[2], atol=1e-4)


@pytest.mark.parametrize("build", [turbo, schnell, with_lcm_scheduler])
@pytest.mark.parametrize("load", [fcs.load, DiffusersPipeline])
def test_few_levels_are_the_schedulers_own(build: Callable[[], Any], load: Any) -> None:
    pipe = build()
    levels = load(pipe, size=SIZE).schedule.levels(STEPS)
    even = {"sigmas": [1.0, 0.75, 0.5, 0.25]} if build is schnell else {"num_inference_steps": STEPS}
    pipe.scheduler.set_timesteps(**even)
    assert [level.t for level in levels[:-1]] == pytest.approx(pipe.scheduler.timesteps.tolist(), abs=1e-3)


@pytest.mark.parametrize("build", [lcm, turbo, schnell])
def test_more_moves_at_each_of_few_levels(build: Callable[[], Any]) -> None:
    model = DiffusersPipeline(build(), SIZE)
    x = noise(model)
    known = torch.zeros_like(x)
    known[..., : x.shape[-1] // 2] = 1
    constraint = Known(0.5 * noise(model, 2), known)
    residuals = []
    for sizes in ((0.5, 0.4, 0.3, 0.2, 0.1), torch.linspace(0.5, 0.02, 20).tolist()):
        calls: list[float] = []

        def asked(x: Tensor, level: Any, calls: list[float] = calls) -> Tensor:
            calls.append(level.t)
            return model.guided([PROMPT])(x, level)

        levels = model.schedule.levels(STEPS)
        x0 = InexactNewton(step_sizes=sizes)(x, levels, asked, constraint, lambda shape: noise(model, 3))
        assert len(calls) == STEPS * (2 * len(sizes) + 1)
        residuals.append(constraint.residual(x0).item())
    assert residuals[1] < 0.7 * residuals[0]


@pytest.mark.parametrize("build", [lcm, turbo, schnell])
def test_latino_takes_one_call_a_level(build: Callable[[], Any]) -> None:
    model = DiffusersPipeline(build(), SIZE)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    made = fcs.inpaint(model, image, mask, PROMPT, steps=STEPS, sampler="latino", progress=False)
    assert made.metrics[0]["nfe"] == STEPS
    plain = fcs.inpaint(model, image, mask, PROMPT, steps=STEPS, sampler="ddim", progress=False)
    assert made.metrics[0]["residual"] < 0.5 * plain.metrics[0]["residual"]

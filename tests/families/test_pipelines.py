"""What holds for every family: the adaptor samples as the pipeline itself does, and constraints are met."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

import fcs
from fcs.core.constraints import Known
from fcs.core.levels import Level
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.samplers.ddim import DDIM
from fcs.samplers.inexact_newton import InexactNewton

pytestmark = [
    pytest.mark.families,
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),
]
PROMPTS = ["a red apple", "x"]
STEPS = 4


def noise(model: DiffusersPipeline, count: int = 2) -> Tensor:
    return torch.randn(count, *model.shape, generator=torch.Generator().manual_seed(1))


def no_randn(shape: Sequence[int]) -> Tensor:
    pytest.fail("a deterministic sampler drew noise")


def plain(levels: Sequence[Level]) -> list[Level]:
    """The same levels without new noise."""
    return [level._replace(noise_std=0.0) for level in levels]


def first_order(pipe: Any) -> Any:
    """The scheduler of the same levels whose step is DDIM's or Euler's."""
    config = pipe.scheduler.config
    if "beta_schedule" not in config:
        return pipe.scheduler
    if config.get("use_flow_sigmas"):
        return diffusers.FlowMatchEulerDiscreteScheduler(shift=config["flow_shift"])
    names = ("beta_schedule", "beta_start", "beta_end", "prediction_type")
    betas = {name: config[name] for name in names}
    return diffusers.DDIMScheduler(**betas, clip_sample=False, timestep_spacing="trailing", steps_offset=1)


def own_picture(pipe: Any, model: DiffusersPipeline, x: Tensor, prompts: list[str], scale: float) -> Tensor:
    """What the pipeline itself makes of noise, ``(N, 3, H, W)`` in [0, 1]."""
    names = inspect.signature(pipe.__call__).parameters
    given: dict[str, Any] = {"height": 32, "width": 32, "use_resolution_binning": False, "num_frames": 1}
    given = {name: value for name, value in given.items() if name in names} | model.calls.guidance.arguments(scale)
    if scale != 1.0 and "negative_prompt" in names:
        given["negative_prompt"] = ["blurry"] * len(x)
    prepared = pipe.prepare_latents

    def prepare(*args: Any, **kwargs: Any) -> Any:
        made = prepared(*args, **kwargs)
        packed = model.packing.pack(x)
        return (packed, *made[1:]) if isinstance(made, tuple) else packed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipe, "prepare_latents", prepare, raising=True)
        made = pipe(prompt=list(prompts), num_inference_steps=STEPS, output_type="pt", **given)[0]
    return made[:, 0] if made.ndim == 5 else made


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_unconstrained_sampling_is_the_pipelines_own(pipe: Any, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "scheduler", first_order(pipe))
    model = DiffusersPipeline(pipe, (32, 32))
    x, levels = noise(model), plain(model.schedule.levels(STEPS))
    negative = "blurry" if "negative_prompt" in model.calls.parameters else ""
    guided = model.guided(PROMPTS, negative, scale)
    x0 = DDIM()(x, levels, guided, Known(x, torch.zeros_like(x)), no_randn)
    own = own_picture(pipe, model, x, PROMPTS, scale)
    # Only the order of float32's operations differs: a few units of rounding a level, enlarged by the guidance.
    torch.testing.assert_close((model.decode(x0) / 2 + 0.5).clamp(0, 1), own, rtol=0, atol=2e-5 * scale)


def test_a_batch_of_two_is_two_of_one(model: DiffusersPipeline) -> None:
    x = noise(model)
    level = model.schedule.levels(STEPS)[1]
    both = model.guided(PROMPTS, scale=2.0)(x, level)
    single = [model.guided([text], scale=2.0)(row[None], level) for text, row in zip(PROMPTS, x, strict=True)]
    torch.testing.assert_close(both, torch.cat(single), rtol=0, atol=1e-4)


def test_packing_is_undone(model: DiffusersPipeline) -> None:
    x = noise(model)
    assert torch.equal(model.packing.unpack(model.packing.pack(x)), x)
    torch.testing.assert_close(model.packing.from_decoder(model.packing.to_decoder(x)), x)


def test_newton_meets_the_constraint_level_by_level(model: DiffusersPipeline) -> None:
    x = noise(model)
    levels = model.schedule.levels(8)
    known = torch.zeros_like(x)
    known[..., : x.shape[-1] // 2] = 1
    guided = model.guided(PROMPTS)
    constraint = Known(0.5 * noise(model).flip(0), known)
    found: dict[float, Tensor] = {}

    def watched(x: Tensor, level: Level) -> Tensor:
        x0 = guided(x, level)
        found[level.t] = constraint.residual(x0)  # the last at each level is after its moves
        return x0

    InexactNewton()(x, levels, watched, constraint, lambda shape: torch.zeros(2, *shape))
    residuals = torch.stack(list(found.values()))
    # Down to a floor that the fixed length of the last moves sets.
    assert (residuals[1:] <= (1.25 * residuals[:-1]).clamp(min=0.1)).all()
    assert (residuals[-1] < 0.5 * residuals[0]).all()


def test_the_prompt_and_the_level_matter(model: DiffusersPipeline) -> None:
    x, levels = noise(model), model.schedule.levels(STEPS)
    one, other = (model.guided([text] * 2)(x, levels[1]) for text in PROMPTS)
    assert not torch.allclose(one, other, rtol=0, atol=1e-6)
    assert not torch.allclose(one, model.guided(PROMPTS[:1] * 2)(x, levels[2]), rtol=0, atol=1e-3)


def test_kept_pixels_are_exact_and_seeds_reproduce(model: DiffusersPipeline) -> None:
    _, height, width = model.picture_shape
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8).numpy().transpose(1, 2, 0)
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[:, width // 2 :] = True

    def made(seed: int) -> Any:
        found = fcs.inpaint(model, image, mask.numpy(), "a red apple", seed, steps=2, sampler=DDIM(), progress=False)
        return torch.from_numpy(np.array(found.images[0]))

    first = made(3)
    assert torch.equal(first[:, : width // 2], torch.from_numpy(image[:, : width // 2].copy()))
    assert torch.equal(made(3), first)
    assert not torch.equal(made(4), first)


def test_the_pipeline_is_left_as_it_was(pipe_of: Callable[[str], Any]) -> None:
    pipe = pipe_of("flux")
    before = dict(vars(pipe)), type(pipe.scheduler), dict(vars(pipe.vae)), dict(pipe.config)
    model = fcs.load(pipe, size=(32, 32))
    model.guided(["x"])(noise(model, 1), model.schedule.levels(2)[0])
    after = dict(vars(pipe)), type(pipe.scheduler), dict(vars(pipe.vae)), dict(pipe.config)
    assert before[1:] == after[1:]
    assert before[0].keys() == after[0].keys()
    assert all(before[0][name] is after[0][name] for name in before[0])

"""What does not fit is refused in one line that says why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

import fcs
from families.builders import flow
from fcs.core.directions import Gradient
from fcs.core.errors import UsageError
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.stable_diffusion import StableDiffusion
from fcs.samplers.inexact_newton import InexactNewton

pytestmark = pytest.mark.families
PipeOf = Callable[[str], Any]


def refused(words: str) -> Any:
    return pytest.raises(UsageError, match=rf"\A[^\n]*{words}[^\n]*\Z")


def test_pipelines_that_start_from_a_picture(pipe_of: PipeOf) -> None:
    for kind in (diffusers.StableDiffusionInpaintPipeline, diffusers.StableDiffusionImg2ImgPipeline):
        parts = {name: part for name, part in pipe_of("sd1").components.items() if name != "image_encoder"}
        with refused("the family's text-to-image pipeline"):
            fcs.load(kind(**parts, image_encoder=None, requires_safety_checker=False))


def test_pipelines_without_a_prompt() -> None:
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
    )
    with refused("takes no prompt"):
        fcs.load(diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()))


def test_something_else_than_a_pipeline() -> None:
    with refused("or a diffusers pipeline"):
        fcs.load(torch.nn.Linear(1, 1))


def test_schedulers_of_another_kind(pipe_of: PipeOf) -> None:
    pipe = copy(pipe_of("sdxl"))
    pipe.register_modules(scheduler=diffusers.EDMEulerScheduler())
    with refused("EDMEulerScheduler: expected a scheduler of a flow"):
        fcs.load(pipe, size=(32, 32))


def test_arguments_with_the_nearest_name(pipe_of: PipeOf) -> None:
    pipe = pipe_of("flux")
    with refused("did you mean max_sequence_length"):
        fcs.load(pipe, size=(32, 32), arguments={"max_sequence_lenght": 8})
    with refused(r"model\.arguments\.num_inference_steps=3: expected it as steps"):
        fcs.load(pipe, size=(32, 32), arguments={"num_inference_steps": 3})
    with refused(r"model\.arguments\.true_cfg_scale=3: expected it as guidance"):
        fcs.load(pipe, size=(32, 32), arguments={"true_cfg_scale": 3})
    with refused("the number of a step"):
        fcs.load(pipe_of("sd3"), size=(32, 32), arguments={"skip_guidance_layers": [1]})


def test_arguments_reach_the_call(pipe_of: PipeOf) -> None:
    """Flux's embedded guidance; at a guidance of 1 the pipeline's own default is kept."""
    pipe = pipe_of("flux")
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    made = []
    for arguments in (None, {"guidance_scale": 3.5}, {"guidance_scale": 8.0}):
        model = fcs.load(pipe, size=(32, 32), arguments=arguments)
        made.append(model.guided(["x"])(x, model.schedule.levels(3)[1]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_size_that_the_pipeline_does_not_make(pipe_of: PipeOf) -> None:
    with refused(r"model\.size=\[36, 32\]: expected a size that FluxPipeline makes, such as \[32, 32\]"):
        fcs.load(pipe_of("flux"), size=(36, 32))


def test_caches(pipe_of: PipeOf) -> None:
    pipe = pipe_of("flux")
    pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1))
    try:
        with refused(r"transformer\.disable_cache\(\) first"):
            fcs.load(pipe, size=(32, 32))
    finally:
        pipe.transformer.disable_cache()


def test_a_cache_that_is_enabled_later(pipe_of: PipeOf) -> None:
    pipe = pipe_of("flux")
    model = fcs.load(pipe, size=(32, 32))
    pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1))
    try:
        with refused(r"disable_cache\(\) first"):
            fcs.sample(model, steps=1, progress=False)
    finally:
        pipe.transformer.disable_cache()


def test_negative_prompts_where_there_are_none(pipe_of: PipeOf) -> None:
    model = fcs.load(pipe_of("flux2"), size=(32, 32))
    with refused("negative_prompt=blurry: expected none: Flux2KleinPipeline"):
        fcs.sample(model, steps=1, guidance=2.0, negative_prompt="blurry", progress=False)


@pytest.mark.parametrize("sampler", ["dps", "psld", "freedom", "p2l"])
def test_samplers_with_backward_passes(pipe_of: PipeOf, sampler: str) -> None:
    model = fcs.load(pipe_of("sana"), size=(32, 32))
    image = np.zeros((32, 32, 3), np.uint8)
    with refused(f"sampler={sampler}: .*only asks its network forwards: .*ding.*mmps.*newton"):
        fcs.inpaint(model, image, np.full((32, 32), 255, np.uint8), steps=1, sampler=sampler, progress=False)


def test_a_direction_with_backward_passes(pipe_of: PipeOf) -> None:
    """The sampler itself is one of those that work."""
    model, sampler = fcs.load(pipe_of("sana"), size=(32, 32)), InexactNewton(Gradient())
    image = np.zeros((32, 32, 3), np.uint8)
    with refused("sampler.direction=gradient: .*only asks its network forwards: newton, local"):
        fcs.inpaint(model, image, np.full((32, 32), 255, np.uint8), steps=1, sampler=sampler, progress=False)


@pytest.mark.parametrize(
    "sampler", ["newton", "projectednewton", "ding", "replacement", "repaint", "mmps", "ddim", "mpgd"]
)
@pytest.mark.parametrize("name", ["flux", "sdxl"])
def test_samplers_that_only_go_forwards(pipe_of: PipeOf, name: str, sampler: str) -> None:
    model = fcs.load(pipe_of(name), size=(32, 32))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    made = fcs.inpaint(model, image, mask, "x", steps=3, sampler=sampler, progress=False)
    assert np.isfinite(made.metrics[0]["residual"])
    assert np.array_equal(np.asarray(made.images[0])[:, :16], image[:, :16])


def test_stable_diffusion_in_memory_is_the_one_in_its_folder(pipe_of: PipeOf, tmp_path: Any) -> None:
    pipe = pipe_of("sd1")
    pipe.save_pretrained(tmp_path / "sd")
    models = fcs.load(pipe), fcs.load(tmp_path / "sd", device="cpu")
    assert all(type(model) is StableDiffusion for model in models)
    one, other = (fcs.sample(model, prompt="red", steps=3, progress=False).images[0] for model in models)
    assert one.tobytes() == other.tobytes()


def test_nothing_is_said_of_files_beside_a_pipeline(pipe_of: PipeOf) -> None:
    for given in ({"revision": "main"}, {"variant": "fp16"}, {"precision": "bf16"}):
        with refused("nothing beside a pipeline in memory"):
            fcs.load(pipe_of("sd1"), **given)


def test_one_prompt_is_read_once(pipe_of: PipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipe_of("sd3")
    read: list[Any] = []
    encode = pipe.text_encoder_3.forward
    monkeypatch.setattr(pipe.text_encoder_3, "forward", lambda *a, **k: read.append(1) or encode(*a, **k))
    model = DiffusersPipeline(pipe, (32, 32))
    read.clear()
    for _ in range(2):
        fcs.sample(model, count=3, prompt=["a", "b", "a"], steps=2, progress=False)
    assert len(read) == 2
    assert isinstance(pipe.scheduler, type(flow()))

"""Pipelines that are also given a picture: ControlNet and IP-Adapter, through a pipeline object."""

from __future__ import annotations

import inspect
from copy import copy
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import fcs
from families import parts
from families.builders import FAMILIES, SAFE, seeded
from fcs.core.errors import UsageError
from fcs.core.levels import pairs
from fcs.models.diffusers_pipeline import DiffusersPipeline

pytestmark = [pytest.mark.families, pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated")]
PROMPTS = ["a red apple", "x"]
SIZE = (32, 32)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8))


@seeded
def controlled() -> Any:
    """Stable Diffusion with a ControlNet."""
    sd = FAMILIES["sd1"]()
    net = diffusers.ControlNetModel.from_unet(sd.unet, conditioning_embedding_out_channels=(8, 8, 8))
    kept = {name: part for name, part in sd.components.items() if name not in (*SAFE, "image_encoder")}
    return diffusers.StableDiffusionControlNetPipeline(**kept, controlnet=net, **SAFE)


@seeded
def controlled_flux() -> Any:
    """Flux with a ControlNet, whose picture the autoencoder reads by drawing from its posterior."""
    flux = FAMILIES["flux"]()
    names = inspect.signature(diffusers.FluxControlNetModel.__init__).parameters
    config = {name: value for name, value in flux.transformer.config.items() if name in names}
    kept = {name: part for name, part in flux.components.items() if name not in ("image_encoder", "feature_extractor")}
    return diffusers.FluxControlNetPipeline(**kept, controlnet=diffusers.FluxControlNetModel(**config))


@seeded
def adapted() -> Any:
    """Stable Diffusion with an IP-Adapter that reads a picture's embedding."""
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    pipe = copy(FAMILIES["sd1"]())
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=parts.WIDTH,
    )
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    reader, processor = CLIPVisionModelWithProjection(config), CLIPImageProcessorPil(**size)
    pipe.register_modules(image_encoder=reader, feature_extractor=processor)
    width = pipe.unet.config.cross_attention_dim
    draw = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=draw)

    projection = {"proj.weight": drawn(4 * width, parts.WIDTH), "proj.bias": drawn(4 * width)}
    projection |= {"norm.weight": torch.ones(width), "norm.bias": drawn(width)}
    layers, place = {}, 1
    for name in pipe.unet.attn_processors:
        if name.endswith("attn2.processor"):
            block = pipe.unet.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                layers[f"{place}.{part}.weight"] = drawn(block.to_k.out_features, width)
            place += 2
    pipe.load_ip_adapter({"image_proj": projection, "ip_adapter": layers}, subfolder="", weight_name="")
    return pipe


def asked(model: Any, prompts: list[str], scale: float = 1.0) -> Tensor:
    x = torch.randn(len(prompts), *model.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.guided(prompts, scale=scale)(x, model.schedule.levels(4)[1])


@pytest.mark.parametrize(
    ("build", "argument"), [(controlled, "image"), (controlled_flux, "control_image"), (adapted, "ip_adapter_image")]
)
def test_a_given_picture_reaches_the_network(build: Any, argument: str) -> None:
    """As an argument of the call; the same in each call, and for each record of a batch."""
    pipe = build()
    one, other = (fcs.load(pipe, size=SIZE, arguments={argument: picture(seed)}) for seed in (0, 1))
    assert isinstance(one, DiffusersPipeline)
    for scale in (1.0, 3.0):
        first = asked(one, PROMPTS, scale)
        assert torch.equal(asked(one, PROMPTS, scale), first)
        assert not torch.allclose(asked(other, PROMPTS, scale), first, atol=1e-4)
        torch.testing.assert_close(asked(one, PROMPTS[:1], scale), first[:1], rtol=0, atol=1e-4)
    made = fcs.inpaint(one, picture(2), np.full(SIZE, 255, np.uint8), PROMPTS[0], steps=2, progress=False)
    assert made.images[0].size == SIZE


def test_the_pictures_own_pipeline_samples_the_same() -> None:
    """Three levels of DDIM, written out, against the ControlNet pipeline itself."""
    pipe, x = controlled(), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    strong = {"image": picture(0), "controlnet_conditioning_scale": 1000.0}  # its random weights do little
    model = fcs.load(pipe, size=SIZE, arguments=strong)
    given = {**strong, "latents": x, "guidance_scale": 2.0, "height": 32, "width": 32}
    own = pipe(PROMPTS[0], num_inference_steps=3, output_type="pt", **given)[0]
    guided, levels = model.guided(PROMPTS[:1], scale=2.0), model.schedule.levels(3)
    with torch.no_grad():
        for t, s in pairs(levels):
            x0 = guided(x, t)
            x = s.alpha * x0 + s.sigma * (x - t.alpha * x0) / t.sigma
        made = (model.decode(x) / 2 + 0.5).clamp(0, 1)
    # Rounding of x_t, enlarged by 1/alpha = 15 at the first level and by the guidance.
    torch.testing.assert_close(made, own, rtol=0, atol=5e-4)
    other = pipe(PROMPTS[0], num_inference_steps=3, output_type="pt", **given | {"controlnet_conditioning_scale": 0.0})[
        0
    ]
    assert (other - own).abs().max() > 5e-3


def test_an_adapter_reads_its_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = adapted()
    model = fcs.load(pipe, size=SIZE, arguments={"ip_adapter_image": picture(0)})
    reads: list[int] = []
    forward = pipe.image_encoder.forward
    monkeypatch.setattr(pipe.image_encoder, "forward", lambda *a, **k: reads.append(1) or forward(*a, **k))
    asked(model, PROMPTS)
    before = len(reads)
    for _ in range(3):
        asked(model, PROMPTS)
    assert len(reads) == before


def test_what_depends_on_the_number_of_a_step_is_refused() -> None:
    for name in ("control_guidance_start", "control_guidance_end"):
        with pytest.raises(UsageError, match="the number of a step"):
            fcs.load(controlled(), size=SIZE, arguments={"image": picture(0), name: 0.5})


def test_a_picture_that_is_missing_is_one_line() -> None:
    embedded = adapted()
    embedded.register_modules(image_encoder=None, feature_extractor=None)
    for pipe in (controlled(), adapted(), embedded):
        with pytest.raises(UsageError, match=r"\Amodel\.arguments\.\w+=None: expected the picture that its [^\n]*\Z"):
            fcs.load(pipe, size=SIZE)

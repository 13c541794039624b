"""A pipeline object in memory as a model: Stable Diffusion on its own path, all others through their own call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fcs.core.errors import UsageError
from fcs.models import pipeline_fit
from fcs.models.base import Model
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.schedules import schedule_of
from fcs.models.stable_diffusion import StableDiffusion
from fcs.models.stable_diffusion_files import told_more


def from_memory(pipe: Any, size: Sequence[int] | None = None, arguments: Mapping[str, Any] | None = None) -> Model:
    """The model of a diffusers pipeline; the pipeline is not changed, and its weights are shared.

    Args:
        pipe: any text-to-image pipeline.
        size: ``(height, width)`` of pictures; the pipeline's own if None.
        arguments: of the pipeline's call.

    Raises:
        UsageError: something else, or a pipeline that does not fit.
    """
    from diffusers import DiffusionPipeline

    if not isinstance(pipe, DiffusionPipeline):
        raise UsageError.of("name", type(pipe).__name__, "the name or the path of a model, or a diffusers pipeline")
    if not arguments and _is_plain(pipe):
        predicts, schedule = schedule_of({**pipe.scheduler.config, "_class_name": type(pipe.scheduler).__name__}, "")
        parts = (pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer)
        return StableDiffusion(*parts, predicts, schedule, size=size)
    return DiffusersPipeline(pipe, size, arguments)


def _is_plain(pipe: Any) -> bool:
    """Whether it is Stable Diffusion in float32 with nothing between its prompt and its network."""
    from diffusers import StableDiffusionPipeline

    if type(pipe) is not StableDiffusionPipeline or pipeline_fit.hooked(pipe):
        return False
    parts = pipeline_fit.modules(pipe)
    parts.pop("safety_checker", None)
    return (
        {"unet", "vae", "text_encoder"} == parts.keys()
        and all(weights.dtype == torch.float32 for part in parts.values() for weights in part.parameters())
        and pipe.unet.config.in_channels == pipe.vae.config.latent_channels
        and not told_more(pipe.unet.config)
        and pipe.unet.encoder_hid_proj is None  # an IP-Adapter's, of which the configuration may say nothing
        and not pipe.scheduler.config.get("prediction_type", "").startswith("flow")
    )

"""Which pipelines work: what an adaptor needs of them, and a line for each that it does not find."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from fcs.core.denoiser import Predicts
from fcs.core.errors import UsageError
from fcs.models.base import Schedule
from fcs.models.options import Offload
from fcs.models.schedules import CONSISTENCY, PREDICTS, schedule_of

NETWORKS = ("transformer", "unet")  # how the denoising networks of pipelines are called, before a number
# Pipelines that have all that is looked for and still do not fit, by the beginning of their names.
UNFIT = {
    "LTX2": "it steps two schedulers at once, of pictures and of sound",
    "AnyFlow": "its network is told the next level too",
    "SanaSprint": "its network is told angles instead of levels",
    "CosmosTextToWorld": "it scales its latents by an EDM scheduler",
    "CosmosVideoToWorld": "it scales its latents by an EDM scheduler",
    "LEdits": "it edits a given picture",
    "StableCascade": "it has no autoencoder of latents",
    "Wuerstchen": "it has no autoencoder of latents",
}
# Arguments of calls that start from a picture, and what to load instead.
FROM_PICTURE = ("strength", "mask_image")


def check_fit(pipe: Any) -> None:
    """Check that a pipeline is one that turns prompts into pictures by a denoising loop over latents.

    Raises:
        UsageError: one line that says why it is not, and what to do.
    """
    name = type(pipe).__name__
    call = inspect.signature(type(pipe).__call__).parameters
    for beginning, reason in UNFIT.items():
        if name.startswith(beginning):
            raise UsageError.of("model", name, f"another pipeline: {reason}")
    if any(argument in call for argument in FROM_PICTURE):
        raise UsageError.of("model", name, "the family's text-to-image pipeline: this one starts from a given picture")
    if "prompt" not in call or "num_inference_steps" not in call:
        raise UsageError.of("model", name, "a text-to-image pipeline: its call takes no prompt and num_inference_steps")
    missing = [part for part in ("scheduler", "vae", "prepare_latents") if getattr(pipe, part, None) is None]
    missing += [] if networks(pipe) else [" or ".join(NETWORKS)]
    if missing:
        raise UsageError.of("model", name, f"a pipeline with {missing[0]}, between which and a prompt this can stand")
    for part, network in networks(pipe).items():
        config: Any = network.config
        if config.get("use_meanflow"):
            raise UsageError.of("model", name, f"a {part} that is told one level: this one is told the next one too")
    check_caches(pipe)


def check_caches(pipe: Any) -> None:
    """Check that no network skips blocks whose input hardly changed, as a finite difference's does.

    Raises:
        UsageError: one does.
    """
    for name, network in networks(pipe).items():
        if getattr(network, "is_cache_enabled", False):
            expected = f"{name}.disable_cache() first: a cache takes a small change of x_t for none, so J e would be 0"
            raise UsageError.of("model", f"{type(pipe).__name__} with a cache", expected)


def check_offload(pipe: Any, wanted: Offload) -> None:
    """Check that a pipeline can be offloaded.

    Raises:
        UsageError: accelerate is missing, or somebody else has placed its weights.
    """
    from diffusers.utils import is_accelerate_available

    if wanted == "none":
        return
    if hooked(pipe):
        raise UsageError.of("model.offload", wanted, "none: the pipeline's weights are offloaded or quantised already")
    if wanted != "text" and not is_accelerate_available():
        raise UsageError.of("model.offload", wanted, "accelerate beside it: pip install accelerate")


def offload(pipe: Any, wanted: Offload, device: torch.device) -> None:
    """Have accelerate bring a pipeline's parts, or their layers, to a device when they are used."""
    if wanted == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def text_encoders(pipe: Any) -> list[nn.Module]:
    """The modules that read prompts."""
    return [part for name, part in modules(pipe).items() if name.startswith("text_encoder")]


def networks(pipe: Any) -> dict[str, nn.Module]:
    """The denoising networks of a pipeline, by name: one, or two for different levels."""
    parts = {name: getattr(pipe, name, None) for name in pipe.config if str(name).startswith(NETWORKS)}
    return {name: part for name, part in parts.items() if isinstance(part, nn.Module)}


def modules(pipe: Any) -> dict[str, nn.Module]:
    """All modules of a pipeline, by name."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def hooked(pipe: Any) -> bool:
    """Whether something else decides where a pipeline's weights are: offloading, a device map, quantisation."""
    parts = modules(pipe).values()
    return any(
        getattr(part, "_hf_hook", None) is not None
        or getattr(part, "hf_device_map", None) is not None
        or getattr(part, "is_quantized", False)
        or getattr(part, "hf_quantizer", None) is not None
        for part in parts
    )


def weights_type(network: nn.Module) -> torch.dtype:
    """The type of most of a network's weights that are real numbers; float32 where it has none."""
    counts: dict[torch.dtype, int] = {}
    for weights in network.parameters():
        if weights.is_floating_point():
            counts[weights.dtype] = counts.get(weights.dtype, 0) + weights.numel()
    return max(counts, key=lambda kind: counts[kind], default=torch.float32)


def prediction(pipe: Any) -> tuple[Predicts, Schedule]:
    """What a pipeline's network predicts, and its noise schedule; a flow's levels are left to the pipeline.

    Raises:
        UsageError: a scheduler of neither a diffusion nor a rectified flow.
    """
    config = dict(pipe.scheduler.config)
    name = type(pipe.scheduler).__name__
    if name.startswith("FlowMatch") or config.get("prediction_type") == "flow_prediction":
        return "flow", Schedule(None, consistency=name in CONSISTENCY)
    if "beta_schedule" not in config or config.get("prediction_type", "epsilon") not in PREDICTS:
        kinds = " or ".join(PREDICTS)
        expected = f"a scheduler of a flow, or of a diffusion with betas and prediction_type {kinds}"
        raise UsageError.of("model", f"{type(pipe).__name__} with {name}", expected)
    return schedule_of({**config, "_class_name": name}, type(pipe).__name__)

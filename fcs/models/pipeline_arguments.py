"""What a user may say of a pipeline's call: checked against its signature, and the pictures that it needs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from fcs.core.errors import UsageError, nearest
from fcs.models.pipeline_fit import networks

# Arguments that are set for each call here, and the keys that say them.
OURS = {
    "prompt": "data.prompt",
    "negative_prompt": "negative_prompt",
    "num_inference_steps": "steps",
    "height": "model.size",
    "width": "model.size",
    "timesteps": "levels",
    "sigmas": "levels",
    "latents": "seed",
    "generator": "seed",
    "num_images_per_prompt": "seed",
    "num_videos_per_prompt": "seed",
    "output_type": "format",
    "return_dict": "format",
    "callback_on_step_end": "sampler",
    "callback_on_step_end_tensor_inputs": "sampler",
}
# What they say depends on the number of a step; here each call of the network is a step of its own.
COUNTED = (
    *("skip_guidance_layers", "denoising_end", "pag_adaptive_scale", "cfg_trunc_ratio", "adapter_conditioning_factor"),
    *("control_guidance_start", "control_guidance_end"),
)


def check_arguments(pipe: Any, arguments: Mapping[str, Any]) -> None:
    """Check what is to be passed to a pipeline's call.

    Raises:
        UsageError: an argument that it does not have, with the nearest that it has, or that another key says.
    """
    parameters = inspect.signature(type(pipe).__call__).parameters
    names = [
        name for name, one in parameters.items() if name not in ("self", *OURS) and one.kind is not one.VAR_KEYWORD
    ]
    _check_pictures(pipe, parameters, arguments)
    for name, value in arguments.items():
        if name in OURS:
            raise UsageError.of(f"model.arguments.{name}", value, f"it as {OURS[name]}")
        if name in COUNTED:
            expected = "nothing: it depends on the number of a step, and samplers ask several times at each level"
            raise UsageError.of(f"model.arguments.{name}", value, expected)
        if name not in names:
            kind = type(pipe).__name__
            near = nearest(name, names)
            hint = f"; did you mean {near}?" if near else f": {', '.join(names)}"
            raise UsageError.of(f"model.arguments.{name}", value, f"an argument of {kind}'s call{hint}")


def _check_pictures(pipe: Any, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    if getattr(pipe, "controlnet", None) is not None:
        name = next(name for name in ("control_image", "image") if name in parameters)
        if arguments.get(name) is None:
            raise UsageError.of(f"model.arguments.{name}", None, "the picture that its ControlNet reads")
    readers = [type(getattr(network, "encoder_hid_proj", None)).__name__ for network in networks(pipe).values()]
    given = any(name.startswith("ip_adapter_image") for name in arguments)
    if "MultiIPAdapterImageProjection" in readers and not given:
        raise UsageError.of("model.arguments.ip_adapter_image", None, "the picture that its IP-Adapter reads")

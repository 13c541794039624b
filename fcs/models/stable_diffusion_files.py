"""What the files of a model in Stable Diffusion's layout say of it, read without its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from safetensors import safe_open

from fcs.core.errors import UsageError
from fcs.models.files import Found

PARTS = ("unet", "vae", "text_encoder", "tokenizer")
FIRST_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"  # in every Stable Diffusion checkpoint
UNET_CONFIG = "unet/config.json"
FURTHER = ("time_cond_proj_dim", "encoder_hid_dim_type", "addition_embed_type", "class_embed_type")
LATENT_CHANNELS = 4  # what diffusers takes where a config says nothing


def picture_shape_of(
    unet: Mapping[str, Any], vae: Mapping[str, Any], size: Sequence[int] | None
) -> tuple[tuple[int, int, int], int]:
    """``(C, H, W)`` of pictures of ``size`` by the parts' configurations, and pixels along a cell of the latents."""
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    if size is None:
        own = unet["sample_size"]
        height, width = (own, own) if isinstance(own, int) else own
        return (vae["in_channels"], height * factor, width * factor), factor
    step = cell_step(unet, factor)
    if any(side % step for side in size):
        raise UsageError.of("model.size", list(size), f"multiples of {step}")
    return (vae["in_channels"], size[0], size[1]), factor


def cell_step(unet: Mapping[str, Any], factor: int) -> int:
    """What the sides of pictures must be multiples of: the UNet halves the latents' cells too."""
    return factor * int(2 ** (len(unet["block_out_channels"]) - 1))


def told_more(config: Mapping[str, Any]) -> bool:
    """Whether a UNet is told more than x_t, t and the text: guidance (LCM), pictures (IP-Adapter), sizes (SDXL)."""
    return any(config.get(name) is not None for name in FURTHER)


def input_channels(found: Found) -> int:
    """Channels that the UNet of these files sees."""
    if found.is_file:
        with safe_open(found.path, "pt") as file:
            return int(file.get_slice(FIRST_CONVOLUTION).get_shape()[1])
    found.require(*PARTS)
    return int(found.json(UNET_CONFIG).get("in_channels", LATENT_CHANNELS))


def latent_channels(found: Found) -> int:
    """Channels of the latents of these files; a single checkpoint's are always four."""
    if found.is_file:
        return LATENT_CHANNELS
    return int(found.json("vae/config.json").get("latent_channels", LATENT_CHANNELS))

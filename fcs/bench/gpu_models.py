"""Latent models of published sizes with random weights, made on the device itself: nothing is loaded or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fcs.core.denoiser import Denoiser, Guided
from fcs.models.base import Model, Schedule


@dataclass(frozen=True)
class Size:
    """Of a model.

    Attributes:
        pixels: along a side of its pictures.
        unet: arguments of diffusers' ``UNet2DConditionModel``.
        vae: widths of the autoencoder.
        tokens: of a prompt.
    """

    pixels: int
    unet: dict[str, Any] = field(default_factory=dict)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    tokens: int = 77


SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TINY = {"block_out_channels": (32, 64), "cross_attention_dim": 32, "attention_head_dim": 8}
TINY |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "layers_per_block": 1}
TINY |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
SIZES = {
    "sd15-512": Size(512, SD15),
    "sd15-1024": Size(1024, SD15),
    "sdxl-1024": Size(1024, SDXL),
    "tiny-64": Size(64, TINY, (32, 32, 32, 32), 8),
}


class SizedNetwork(nn.Module):
    """A UNet as a function of (x, t, text embeddings); SDXL's further inputs are zeros.

    Args:
        size: its arguments.
        cells: along a side of its latents.
    """

    def __init__(self, size: Size, cells: int) -> None:
        from diffusers import UNet2DConditionModel

        super().__init__()
        self.unet = UNet2DConditionModel(sample_size=cells, **size.unet)
        self.further = "addition_embed_type" in size.unet

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """``(N, 4, h, w)`` like ``x``."""
        added = {"text_embeds": x.new_zeros(len(x), 1280), "time_ids": x.new_zeros(len(x), 6)} if self.further else None
        out: Tensor = self.unet(x, t, cond, added_cond_kwargs=added, return_dict=False)[0]
        return out


class SizedModel(Model):
    """Stable Diffusion's or SDXL's network and autoencoder, random; its time and memory are theirs.

    Args:
        size: of ``SIZES``.
        device: where it is made.
        autocast: type of the network's arithmetic, None for float32.
    """

    prompted = True

    def __init__(self, size: Size, device: torch.device, autocast: torch.dtype | None = None) -> None:
        from diffusers import AutoencoderKL

        cells, abar = size.pixels // 8, torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square(), 0)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
            torch.manual_seed(0)
            network = SizedNetwork(size, cells)
            vae = AutoencoderKL(
                block_out_channels=size.vae,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
            )
        network.requires_grad_(False)
        shape = (4, cells, cells)
        super().__init__(Denoiser(network, "eps", autocast), Schedule(abar), shape, (3, size.pixels, size.pixels))
        self.vae = vae
        self.words = (size.tokens, size.unet["cross_attention_dim"])
        self.requires_grad_(False)
        self.eval()

    def encode(self, pictures: Tensor) -> Tensor:
        return 0.18215 * self.by_codec(lambda part: self.vae.encode(part).latent_dist.mean, pictures)

    def decode(self, z: Tensor) -> Tensor:
        return self.by_codec(lambda part: self.vae.decode(part, return_dict=False)[0], z / 0.18215)

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        cond = torch.zeros(len(prompts), *self.words, device=self.device)
        return Guided(self.denoiser, cond, cond if scale != 1.0 else None, scale)

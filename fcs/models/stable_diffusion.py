"""Latent text-to-image models in Stable Diffusion's layout: UNet, autoencoder, CLIP text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel, CLIPTokenizer

from fcs.core.denoiser import Denoiser, Guided, Predicts
from fcs.models.base import Model, Schedule

KEPT_EMBEDDINGS = 1024  # 240 MB for Stable Diffusion 1.5


class LatentNetwork(nn.Module):
    """A ``UNet2DConditionModel`` as a plain function of (x, t, text embeddings)."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output ``(N, C, h, w)`` for embeddings ``(N, L, D)``."""
        out: Tensor = self.unet(x, t, cond, return_dict=False)[0]
        return out


class StableDiffusion(Model):
    """A latent diffusion with text, as diffusers' ``StableDiffusionPipeline`` holds it.

    Args:
        unet: the network on latents.
        vae: autoencoder; its posterior mean encodes, in float32.
        text_encoder: CLIP's text tower.
        tokenizer: its tokenizer.
        predicts: what the network predicts.
        schedule: its levels.
        autocast: type for the UNet's arithmetic, None for its own.

    Raises:
        ValueError: a UNet that wants other channels than the latents'.
    """

    prompted = True

    @classmethod
    def inputs(cls, latents: int) -> int:
        """Channels that the UNet sees where the latents have so many."""
        return latents

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        predicts: Predicts,
        schedule: Schedule,
        autocast: torch.dtype | None = None,
    ) -> None:
        channels = vae.config.latent_channels
        if unet.config.in_channels != self.inputs(channels):
            expected = f"{channels}, or {2 * channels + 1} of one tuned for inpainting"
            raise ValueError(f"a UNet of {unet.config.in_channels} input channels: expected {expected}")
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        super().__init__(
            Denoiser(LatentNetwork(unet), predicts, autocast),
            schedule,
            (channels, height, width),
            (vae.config.in_channels, height * factor, width * factor),
        )
        self.vae = vae
        self.text_encoder = text_encoder
        self.tokenizer = tokenizer
        self.latent_scale: float = vae.config.scaling_factor
        self.latent_shift: float = vae.config.shift_factor or 0.0
        self._embeddings: dict[str, Tensor] = {}
        self._sliced = False

    def spare(self, slicing: bool, tiling: bool) -> None:
        self._sliced = slicing
        (self.vae.enable_slicing if slicing else self.vae.disable_slicing)()
        (self.vae.enable_tiling if tiling else self.vae.disable_tiling)()

    def encode(self, pictures: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(pictures).latent_dist.mean
        return (mean - self.latent_shift) * self.latent_scale

    def decode(self, z: Tensor) -> Tensor:
        if not (self._sliced and torch.is_grad_enabled() and z.requires_grad):
            return self._decoded(z)
        # Nothing is kept of a row but z until its gradient is asked for; then of this row alone.
        rows = [
            checkpoint(self._decoded, row, use_reentrant=False, preserve_rng_state=False) for row in torch.split(z, 1)
        ]
        return torch.cat(rows)

    def _decoded(self, z: Tensor) -> Tensor:
        pictures: Tensor = self.vae.decode(z / self.latent_scale + self.latent_shift, return_dict=False)[0]
        return pictures

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        cond = self.embed(prompts)
        uncond = self.embed([negative] * len(prompts)) if scale != 1.0 else None
        return Guided(self.denoiser, cond, uncond, scale)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings ``(N, L, D)``; a prompt seen lately is not encoded again."""
        if len(self._embeddings) > KEPT_EMBEDDINGS:
            self._embeddings.clear()
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._embeddings:
                length = self.tokenizer.model_max_length
                tokens = self.tokenizer(
                    prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
                )
                # One prompt at a time: an embedding must not depend on which prompts came with it.
                self._embeddings[prompt] = self.text_encoder(tokens.input_ids.to(self.device))[0][0]
        return torch.stack([self._embeddings[prompt].to(self.device) for prompt in prompts])

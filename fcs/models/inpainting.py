"""Stable Diffusion tuned for inpainting: its UNet also sees the mask and the given pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.denoiser import Guided
from fcs.models.files import Found
from fcs.models.stable_diffusion import StableDiffusion
from fcs.models.stable_diffusion_files import input_channels, latent_channels


class StableDiffusionInpaint(StableDiffusion):
    """A latent diffusion whose UNet sees ``[latents, mask, latents of the masked picture]``: 9 channels of 4 latents.

    As diffusers' ``StableDiffusionInpaintPipeline`` runs it (weights such as runwayml's stable-diffusion-inpainting):
    the mask is 1 where the picture is to be generated, made 0 or 1 at one half, reduced to the latents' size by
    taking each cell's first pixel (nearest); the masked picture is ``picture * (mask < 0.5)`` in [-1, 1], mid grey in
    the hole. The pipeline draws its latents from the posterior; here they are the posterior's mean, so that a record's
    result depends on its own noise alone. Any sampler works with it; it was tuned for plain ``ddim``.
    """

    @classmethod
    def is_in(cls, found: Found) -> bool:
        return super().is_in(found) and input_channels(found) == cls.inputs(latent_channels(found))

    @classmethod
    def inputs(cls, latents: int) -> int:
        return 2 * latents + 1

    def concat_cond(self, pictures: Tensor, generate: Tensor) -> Tensor:
        mask = (generate >= 0.5).to(pictures.dtype)
        with torch.no_grad():
            return torch.cat([F.interpolate(mask, self.shape[1:]), self.encode(pictures * (1 - mask))], 1)

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        """As ``StableDiffusion.guided``, with everything to be generated."""
        guided = super().guided(prompts, negative, scale)
        grey = torch.zeros(1, *self.picture_shape, device=self.device, dtype=next(self.vae.parameters()).dtype)
        concat_cond = self.concat_cond(grey, torch.ones_like(grey[:, :1])).expand(len(prompts), -1, -1, -1)
        return replace(guided, concat_cond=concat_cond)

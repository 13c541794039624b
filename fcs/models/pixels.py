"""Pixel models: diffusers' UNet2DModel, as a diffusion or a rectified flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from fcs.core.denoiser import Denoiser, Guided, Predicts
from fcs.models.base import Model, Schedule


class PixelNetwork(nn.Module):
    """A ``UNet2DModel`` as a plain function of (x, t)."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output ``(N, C, H, W)``; there is no conditioning."""
        out: Tensor = self.unet(x, t, return_dict=False)[0]
        return out


class PixelModel(Model):
    """A model whose x_0 is the picture itself.

    Args:
        unet: the network.
        predicts: what it predicts.
        schedule: its levels.
        autocast: type for the network's arithmetic, None for its own.
    """

    def __init__(
        self, unet: UNet2DModel, predicts: Predicts, schedule: Schedule, autocast: torch.dtype | None = None
    ) -> None:
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (unet.config.in_channels, height, width)
        super().__init__(Denoiser(PixelNetwork(unet), predicts, autocast), schedule, shape, shape)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, z: Tensor) -> Tensor:
        return z

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        return Guided(self.denoiser, scale=scale)

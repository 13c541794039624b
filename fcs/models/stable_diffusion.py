"""Latent text-to-image models in Stable Diffusion's layout: UNet, autoencoder, CLIP text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcs.core.denoiser import Denoiser, Guided, Predicts
from fcs.core.errors import UsageError
from fcs.core.windows import Windows
from fcs.models.base import Schedule
from fcs.models.family import Family
from fcs.models.files import Found
from fcs.models.options import Options
from fcs.models.stable_diffusion_files import (
    FIRST_CONVOLUTION,
    PARTS,
    UNET_CONFIG,
    cell_step,
    picture_shape_of,
    told_more,
)
from fcs.models.text_embedding import TextEmbedding
from fcs.models.textual_inversion import teach

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


class LatentNetwork(nn.Module):
    """A ``UNet2DConditionModel`` as a plain function of (x, t, text embeddings)."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output ``(N, C, h, w)`` for embeddings ``(N, L, D)``."""
        out: Tensor = self.unet(x, t, cond, return_dict=False)[0]
        return out


class StableDiffusion(Family):
    """A latent diffusion with text, as diffusers' ``StableDiffusionPipeline`` holds it.

    Args:
        unet: the network on latents.
        vae: autoencoder; its posterior mean encodes, in float32.
        text_encoder: CLIP's text tower.
        tokenizer: its tokenizer.
        predicts: what the network predicts.
        schedule: its levels.
        autocast: type for the UNet's arithmetic, None for its own.
        size: ``(height, width)`` of pictures; the one that it was trained at if None.

    Raises:
        ValueError: a UNet whose input channels do not fit the latents.
        UsageError: a size that is no multiple of a cell's.
    """

    prompted = True
    windowed = True
    layout = "Stable Diffusion's folder or checkpoint with one text encoder"

    @classmethod
    def inputs(cls, latents: int) -> int:
        """Input channels of the UNet for a number of latent channels."""
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
        size: Sequence[int] | None = None,
    ) -> None:
        channels = vae.config.latent_channels
        if unet.config.in_channels != self.inputs(channels):
            expected = f"{channels}, or {2 * channels + 1} of one tuned for inpainting"
            raise ValueError(f"a UNet of {unet.config.in_channels} input channels: expected {expected}")
        picture, factor = picture_shape_of(unet.config, vae.config, size)
        super().__init__(
            Denoiser(LatentNetwork(unet), predicts, autocast),
            schedule,
            (channels, picture[1] // factor, picture[2] // factor),
            picture,
        )
        self._step = cell_step(unet.config, factor)
        own = unet.config.sample_size
        self._own_cells: tuple[int, int] = (own, own) if isinstance(own, int) else (own[0], own[1])
        self.vae = vae
        self.text = TextEmbedding(tokenizer, text_encoder)
        self.latent_scale: float = vae.config.scaling_factor
        self.latent_shift: float = vae.config.shift_factor or 0.0
        self._sliced = False

    @classmethod
    def is_in(cls, found: Found) -> bool:
        if not found.is_file:
            known = found.part("unet") == "UNet2DConditionModel" and found.part("text_encoder_2") is None
            return known and not ((found.path / UNET_CONFIG).is_file() and told_more(found.json(UNET_CONFIG)))
        with safe_open(found.path, "pt") as file:
            return FIRST_CONVOLUTION in file.keys()  # noqa: SIM118 (not a mapping)

    @classmethod
    def load(cls, found: Found, autocast: torch.dtype | None, options: Options) -> Self:
        if found.is_file:
            return cls._from_checkpoint(found, autocast, options)
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        found.require(*PARTS)
        found.require_weights("unet", "vae", "text_encoder")
        predicts, schedule = found.schedule()
        kind = {"use_safetensors": True, "variant": found.variant}
        reading = {"torch_dtype": torch.float32, **kind}
        text_encoder = CLIPTextModel.from_pretrained(found.path / "text_encoder", dtype=torch.float32, **kind)
        tokenizer = CLIPTokenizer.from_pretrained(found.path / "tokenizer")
        teach(options.textual_inversion, [(tokenizer, text_encoder)], found.name)
        return cls(
            UNet2DConditionModel.from_pretrained(found.path / "unet", **reading),
            AutoencoderKL.from_pretrained(found.path / "vae", **reading),
            text_encoder,
            tokenizer,
            predicts,
            schedule,
            autocast,
            options.size,
        )

    @classmethod
    def picture_shape_in(cls, found: Found, options: Options) -> tuple[int, int, int] | None:
        if found.is_file:
            return None
        unet, vae = (found.json(f"{part}/config.json") for part in ("unet", "vae"))
        if not {"sample_size", "block_out_channels"} <= unet.keys() or not {"in_channels"} <= vae.keys():
            return None
        return picture_shape_of(unet, vae, options.size)[0]

    @classmethod
    def _from_checkpoint(cls, found: Found, autocast: torch.dtype | None, options: Options) -> Self:
        from diffusers import StableDiffusionPipeline

        parts = StableDiffusionPipeline.from_single_file(
            found.path, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )
        predicts, schedule = found.schedule({"_class_name": "", **parts.scheduler.config})
        teach(options.textual_inversion, [(parts.tokenizer, parts.text_encoder)], found.name)
        own = (parts.unet, parts.vae, parts.text_encoder, parts.tokenizer)
        return cls(*own, predicts, schedule, autocast, options.size)

    @property
    def step(self) -> int:
        return self._step

    def use_windows(self, overlap: int) -> None:
        height, width = self._own_cells
        if not 0 < overlap < self.factor * min(height, width):
            expected = f"1 to {self.factor * min(height, width) - 1}, less than the {width * self.factor}"
            raise UsageError.of("model.overlap", overlap, f"{expected}x{height * self.factor} pixels of a window")
        self.denoiser.windows = Windows(height, width, -(-overlap // self.factor))

    @property
    def way(self) -> str:
        windows, way = self.denoiser.windows, super().way
        if windows is None:
            return way
        count, size = windows.count(*self.shape[1:]), f"{windows.width * self.factor}x{windows.height * self.factor}"
        return f"{way}, {count} {'window' if count == 1 else 'windows'} of {size} pixels a call"

    def spare(self, slicing: bool, tiling: bool) -> None:
        self._sliced = slicing
        (self.vae.enable_slicing if slicing else self.vae.disable_slicing)()
        (self.vae.enable_tiling if tiling else self.vae.disable_tiling)()

    def encode(self, pictures: Tensor) -> Tensor:
        mean = self.by_codec(lambda part: self.vae.encode(part).latent_dist.mean, pictures)
        return (mean - self.latent_shift) * self.latent_scale

    def decode(self, z: Tensor) -> Tensor:
        if not (self._sliced and torch.is_grad_enabled() and z.requires_grad):
            return self.by_codec(self._decoded, z)
        # Only z is kept of each sample until its gradient is computed, one sample at a time.
        return torch.cat([self.by_codec(self._again, row) for row in torch.split(z, 1)])

    def _again(self, z: Tensor) -> Tensor:
        pictures: Tensor = checkpoint(self._decoded, z, use_reentrant=False, preserve_rng_state=False)
        return pictures

    def _decoded(self, z: Tensor) -> Tensor:
        pictures: Tensor = self.vae.decode(z / self.latent_scale + self.latent_shift, return_dict=False)[0]
        return pictures

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        cond = self.text(prompts)
        uncond = self.text([negative] * len(prompts)) if scale != 1.0 else None
        return Guided(self.denoiser, cond, uncond, scale)

    def truncates(self, prompt: str) -> bool:
        return self.text.truncates(prompt)

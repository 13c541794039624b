"""What a run is measured against, with torch and diffusers only: nothing of fcs is in here.

``Bare`` holds a model's parts as diffusers loads them. ``least`` is the least that a batch can cost: its denoiser
calls, one encoding and one decoding. ``published`` is the published loop (Graikos et al. 2025, notebooks): one picture
at a time, float32, eager, norms over the whole tensor, the network told t = 1000, 950, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

STEP_SIZES = (0.5, 0.4, 0.3, 0.2, 0.1)
DELTA = 0.005


@dataclass
class Bare:
    """A Stable Diffusion's parts.

    Attributes:
        unet: the network, compiled or not.
        vae: the autoencoder.
        cond: embedding of the empty prompt ``(1, L, D)``.
        abar: products of the schedule ``(T,)``.
        autocast: type of the UNet's arithmetic, None for float32.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    cond: Tensor
    abar: Tensor
    autocast: torch.dtype | None = None

    def predict(self, x: Tensor, t: Tensor | int, cond: Tensor) -> Tensor:
        """The network's output ``(N, C, h, w)``."""
        with torch.autocast(x.device.type, self.autocast, enabled=self.autocast is not None):
            return self.unet(x, t, cond, return_dict=False)[0]

    @property
    def device(self) -> torch.device:
        """Where the parts are."""
        return self.cond.device


@torch.no_grad()
def load(folder: Path, device: torch.device, autocast: torch.dtype | None = None, compiled: bool = False) -> Bare:
    """The parts of a diffusers folder, in float32."""
    options = {"torch_dtype": torch.float32, "use_safetensors": True}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", **options).to(device).eval().requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(folder / "vae", **options).to(device).eval().requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    length = tokenizer.model_max_length
    tokens = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    cond = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()(tokens)[0].to(device)
    abar = DDPMScheduler.from_pretrained(folder / "scheduler").alphas_cumprod
    network = torch.compile(unet, fullgraph=True, dynamic=False) if compiled else unet
    return Bare(network, vae, cond, abar, autocast)


def pictures(bare: Bare, count: int) -> Tensor:
    """Smooth pictures ``(count, 3, H, W)`` in [-1, 1] of the size that the model makes."""
    config = bare.vae.config
    side = latent_side(bare) * 2 ** (len(config.block_out_channels) - 1)
    coarse = torch.rand(count, config.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    return (2 * F.interpolate(coarse, (side, side), mode="bilinear") - 1).to(bare.device)


def latent_side(bare: Bare) -> int:
    """Cells along a side of x_t; a compiled module hands its configuration through."""
    return int(bare.unet.config.sample_size)


def ended(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def least(bare: Bare, given: Tensor, calls: int) -> Tensor:
    """So many calls of the network between one encoding and one decoding of the same batch."""
    scale = bare.vae.config.scaling_factor
    x = bare.vae.encode(given).latent_dist.mean * scale
    cond = bare.cond.expand(len(x), -1, -1).contiguous()
    t = torch.full((len(x),), 500.0, device=bare.device)
    out = x
    for _ in range(calls):
        out = bare.predict(x, t, cond)
    made: Tensor = bare.vae.decode(out / scale, return_dict=False)[0].cpu()
    return made


@torch.no_grad()
def published(bare: Bare, given: Tensor, steps: int, step_sizes: Sequence[float] = STEP_SIZES) -> Tensor:
    """The right half of one picture ``(1, 3, H, W)`` from the left one, by ``steps (1 + 2 K)`` calls."""
    scale, side = bare.vae.config.scaling_factor, latent_side(bare)
    known = torch.ones(1, 1, side, side, device=bare.device)
    known[..., side // 2 :] = 0
    y = bare.vae.encode(given * F.interpolate(known, given.shape[2:])).latent_dist.mean * scale
    x, stride = torch.randn_like(y), len(bare.abar) // steps
    for t in range(stride * steps, 0, -stride):
        a, b = float(bare.abar[t - 1]), float(bare.abar[max(t - 1 - stride, 0)])

        def x0(x: Tensor, t: int = t, a: float = a) -> Tensor:
            return (x - (1 - a) ** 0.5 * bare.predict(x, t, bare.cond)) / a**0.5

        for size in step_sizes:
            guess = x0(x)
            error = known * (y - guess)
            h = DELTA / error.abs().max()
            d = (x0(x + h * error) - guess) / h
            x = x + size * d / d.abs().max()
        guess = x0(x)
        eps = (x - a**0.5 * guess) / (1 - a) ** 0.5
        x = b**0.5 * guess + (1 - b) ** 0.5 * eps
    made: Tensor = bare.vae.decode(guess / scale, return_dict=False)[0].cpu()
    return made

"""Stages vae and decoder: an AutoencoderKL of factor 4 with 4 latent channels, then its decoder alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from emoji.dataset import Dataset
from emoji.grid import save_grid
from emoji.pool import cached_pool, to_float

BATCH = 8  # on each rank; small: in half an hour the number of updates counts more than their noise


def new_vae() -> AutoencoderKL:
    """The untrained network, 1.6 M parameters; no attention, so speed and reach are those of convolutions."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=64,
        mid_block_add_attention=False,
    )


@dataclass
class Loss:
    """Reconstruction in L1 and L2, edges and coarse colour in L1, and a little Kullback-Leibler divergence.

    Without the coarse term the axis from green to magenta is found late, after a third of the training.
    """

    vae: AutoencoderKL
    pool: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The losses of one batch drawn from the pool."""
        x = to_float(self.pool[torch.randint(len(self.pool), (BATCH,), generator=generator)])
        posterior = self.vae.encode(x).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
        y = self.vae.decode(posterior.mean + posterior.std * noise).sample.float()
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        return {**reconstruction(y, x), "kl": 1e-4 * kl}


@dataclass
class DecoderLoss:
    """The same without sampling and divergence, for a decoder of the latents that the encoder gives."""

    vae: AutoencoderKL
    pool: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The losses of one batch drawn from the pool."""
        x = to_float(self.pool[torch.randint(len(self.pool), (BATCH,), generator=generator)])
        with torch.no_grad():
            z = self.vae.encode(x).latent_dist.mean
        return reconstruction(self.vae.decode(z).sample.float(), x)


def reconstruction(y: Tensor, x: Tensor) -> Losses:
    """Distances of reconstructions y and pictures x, (N, 3, 64, 64)."""
    mse = F.mse_loss(y, x)
    edges = (y.diff(dim=3) - x.diff(dim=3)).abs().mean() + (y.diff(dim=2) - x.diff(dim=2)).abs().mean()
    return {
        "l1": (y - x).abs().mean(),
        "mse": 5 * mse,
        "edges": 0.25 * edges,
        "coarse": F.avg_pool2d(y - x, 8).abs().mean(),
        "_psnr": -10 * torch.log10(mse.detach() / 4),
    }


def train_vae(dataset: Dataset, plan: Plan) -> State:
    """Trains, writes the model to `folder/vae` and reconstructions of unseen glyphs to `vae.png`."""
    torch.manual_seed(plan.seed)
    vae = AutoencoderKL.from_pretrained(plan.start / "vae") if plan.start else new_vae()
    vae = vae.to(plan.device, memory_format=torch.channels_last)
    pool = cached_pool(dataset, plan.folder, plan.seed, plan.device).flatten(0, 1)
    average, state = fit(vae, Loss(vae, pool), Setting("vae", plan, Rate(1.2e-3)))
    average.register_to_config(scaling_factor=scaling_factor(average, pool))
    average.save_pretrained(plan.folder / "vae")
    save_reconstructions(average, dataset, plan, plan.folder / "vae.png")
    return state


def train_decoder(dataset: Dataset, plan: Plan) -> State:
    """Trains the decoder on, with the encoder fixed; writes the whole to `folder/decoder`.

    The latents stay as they are, so this can run before, beside or after the training of the UNet.
    """
    vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device, memory_format=torch.channels_last)
    pool = cached_pool(dataset, plan.folder, plan.seed, plan.device).flatten(0, 1)
    average, state = fit(vae.decoder, DecoderLoss(vae, pool), Setting("decoder", plan, Rate(6e-4)))
    vae.decoder.load_state_dict(average.state_dict())
    vae.save_pretrained(plan.folder / "decoder")
    save_reconstructions(vae.eval(), dataset, plan, plan.folder / "decoder.png")
    return state


def save_reconstructions(vae: AutoencoderKL, dataset: Dataset, plan: Plan, path: Path) -> None:
    """A grid of 48 unseen glyphs, each beside its reconstruction."""
    x = unseen_pictures(dataset, 48, plan.seed, plan.device)
    save_grid(torch.stack([x, reconstruct(vae, x)], 1).flatten(0, 1), path, columns=12)


def unseen_pictures(dataset: Dataset, count: int, seed: int, device: str) -> Tensor:
    """New renderings of held-out glyphs, (count, 3, 64, 64), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    glyphs = dataset.indices("held-out")
    chosen = glyphs[torch.randperm(len(glyphs), generator=generator)[:count]]
    return dataset.renderer(device)(chosen, generator)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, x: Tensor) -> Tensor:
    """Pictures through the posterior mean and back, (N, 3, 64, 64), clipped to [-1, 1]."""
    parts = [vae.decode(vae.encode(part).latent_dist.mean).sample for part in torch.split(x, 64)]
    return torch.cat(parts).clamp(-1, 1)


@torch.no_grad()
def encode_pool(vae: AutoencoderKL, pool: Tensor) -> Tensor:
    """Posterior means of pictures (n, 3, 64, 64) uint8, (n, 4, 16, 16) in half precision, unscaled."""
    return torch.cat([vae.encode(to_float(part)).latent_dist.mean.half() for part in torch.split(pool, 64)])


def scaling_factor(vae: AutoencoderKL, pool: Tensor) -> float:
    """One over the standard deviation of the latents, as Stable Diffusion's 0.18215 is."""
    return round(1 / encode_pool(vae, pool[:2048]).float().std().item(), 5)


def psnr_by_glyph(vae: AutoencoderKL, dataset: Dataset, split: str, seed: int, device: str) -> dict[int, float]:
    """PSNR in dB of one new rendering of each glyph of a split, by glyph index."""
    glyphs = dataset.indices(split)
    x = dataset.renderer(device)(glyphs, torch.Generator().manual_seed(seed + 1))
    mse = (reconstruct(vae, x) - x).square().mean((1, 2, 3)) / 4
    return dict(zip(glyphs.tolist(), (-10 * torch.log10(mse)).tolist(), strict=True))

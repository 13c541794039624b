"""Stages unet, flow and dit: the denoiser of latents of any kind, and what it draws."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ModelMixin
from emoji.grid import save_grid
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.architecture import Conditions, Reader
from faces.classifier import load_classifier
from faces.kinds import Kind
from faces.pictures import Pool
from faces.sampling import load_model, obeyed
from faces.text import Text, draw_captions
from faces.vae import encode

BATCH = 16  # on each rank; small: the number of updates counts more than their noise
JUDGED = 240  # faces drawn after a training


@dataclass
class Examples:
    """What every loss of a denoiser draws from.

    Attributes:
        latents: of a pool's pictures, scaled, ``(n, C, H, W)`` fp16.
        labels: of the same, ``(n, attributes)``.
        read: captions to what the network is told of them.
        device: that batches go to.
    """

    latents: Tensor
    labels: Tensor
    read: Reader
    device: str | torch.device = "cpu"

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Conditions]:
        """A batch: x_0 ``(BATCH, C, H, W)``, noise like it, and what new captions of it tell."""
        rows = torch.randint(len(self.latents), (BATCH,), generator=generator)
        told = self.read(draw_captions(self.labels[rows], generator))
        x0 = self.latents[rows].to(self.device).float()
        return x0, torch.randn(x0.shape, generator=generator).to(self.device), told


def cached_latents(pool: Pool, plan: Plan) -> Tensor:
    """Scaled posterior means of a pool's pictures, fp16, kept in ``latents.pt`` of the plan's folder."""
    path = plan.folder / "latents.pt"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device, memory_format=torch.channels_last)
        part = path.with_suffix(".part")
        latents = encode(vae, pool, torch.arange(len(pool))) * vae.config.scaling_factor
        torch.save(latents.half().cpu(), part)
        part.replace(path)
    return torch.load(path, weights_only=True)


def examples(kind: Kind, network: ModelMixin, pool: Pool, plan: Plan) -> Examples:
    """A pool's latents, and captions as the network reads them."""
    read = kind.architecture.reader(network, Text.load(plan.folder, plan.device))
    return Examples(cached_latents(pool, plan), pool.labels, read, plan.device)


def answer(network: nn.Module, x: Tensor, t: Tensor, told: Conditions) -> Tensor:
    """What a network says at ``x`` ``(N, C, H, W)`` and times ``t`` ``(N,)``, float32."""
    out: Tensor = network(x.contiguous(memory_format=torch.channels_last), timestep=t, **told).sample
    return out.float()


@dataclass
class Loss:
    """Mean squared error of what the network predicts at uniform times, under new captions each time."""

    kind: Kind
    network: nn.Module
    examples: Examples

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        x0, eps, told = self.examples.draw(generator)
        x, t, target = self.kind.draw(x0, eps, generator)
        return {"loss": F.mse_loss(answer(self.network, x, t, told), target)}


def train_denoiser(kind: Kind, pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes the network, faces drawn by full captions to ``STAGE.png``, and what of them is obeyed."""
    torch.manual_seed(plan.seed)
    own = kind.architecture
    network = own.network.from_pretrained(plan.start / own.part) if plan.start else own.new()
    network = network.to(plan.device, memory_format=torch.channels_last)
    loss = Loss(kind, network, examples(kind, network, pool, plan))
    average, state = fit(network, loss, Setting(kind.stage, plan, Rate(1e-3)))
    judge(kind, average, seen, plan)
    return state


def judge(kind: Kind, average: ModelMixin, seen: Pool, plan: Plan) -> None:
    """Writes a trained network, faces drawn by full captions and what of them is obeyed."""
    average.save_pretrained(plan.folder / kind.stage)
    model = load_model(kind, plan.folder, plan.device)
    classifier = load_classifier(plan.folder).to(plan.device)
    found, pictures = obeyed(kind, model, classifier, seen, plan.seed, JUDGED)
    save_grid(pictures[:60], plan.folder / f"{kind.stage}.png", 12)
    (plan.folder / f"{kind.stage}.accuracy.json").write_text(json.dumps(found, indent=1) + "\n")

"""Stages unet and flow: the denoiser of latents of either kind, one architecture, and what it draws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from emoji.grid import save_grid
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.classifier import load_classifier
from faces.kinds import Kind
from faces.pictures import Pool
from faces.sampling import load_model, obeyed
from faces.text import WIDTH, Text, draw_captions
from faces.vae import CHANNELS, encode

BATCH = 16  # on each rank; small: the number of updates counts more than their noise
JUDGED = 240  # faces drawn after a training


def new_unet() -> UNet2DConditionModel:
    """The untrained network: 16, 8 and 4 cells wide, attention at 8 and 4 (at 16 it trebles a step)."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96, 128),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # the number of heads: diffusers keeps the old name
        norm_num_groups=16,
    )


def cached_latents(vae: AutoencoderKL, pool: Pool, folder: Path) -> Tensor:
    """Scaled posterior means of a pool's pictures, fp16, kept in ``folder/latents.pt``."""
    path = folder / "latents.pt"
    if not path.exists():
        part = path.with_suffix(".part")
        latents = encode(vae, pool, torch.arange(len(pool))) * vae.config.scaling_factor
        torch.save(latents.half().cpu(), part)
        part.replace(path)
    return torch.load(path, weights_only=True)


def drawn(latents: Tensor, labels: Tensor, text: Text, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: x_0 ``(BATCH, C, H, W)``, noise like it, and the states of new captions; on the text tower's device."""
    rows = torch.randint(len(latents), (BATCH,), generator=generator)
    states = text(draw_captions(labels[rows], generator))
    x0 = latents[rows].to(states.device).float()
    return x0, torch.randn(x0.shape, generator=generator).to(x0.device), states


@dataclass
class Loss:
    """Mean squared error of what the network predicts at uniform times, under new captions each time."""

    kind: Kind
    unet: UNet2DConditionModel
    latents: Tensor
    labels: Tensor
    text: Text

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        x0, eps, states = drawn(self.latents, self.labels, self.text, generator)
        x, t, target = self.kind.draw(x0, eps, generator)
        predicted = self.unet(x.contiguous(memory_format=torch.channels_last), t, encoder_hidden_states=states).sample
        return {"loss": F.mse_loss(predicted.float(), target)}


def train_unet(kind: Kind, pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes the network, faces drawn by full captions to ``STAGE.png``, and what of them is obeyed."""
    torch.manual_seed(plan.seed)
    vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device, memory_format=torch.channels_last)
    latents = cached_latents(vae, pool, plan.folder)
    unet = UNet2DConditionModel.from_pretrained(plan.start / "unet") if plan.start else new_unet()
    unet = unet.to(plan.device, memory_format=torch.channels_last)
    loss = Loss(kind, unet, latents, pool.labels, Text.load(plan.folder, plan.device))
    average, state = fit(unet, loss, Setting(kind.stage, plan, Rate(1e-3)))
    judge(kind, average, seen, plan)
    return state


def judge(kind: Kind, average: nn.Module, seen: Pool, plan: Plan) -> None:
    """Writes a trained network, faces drawn by full captions and what of them is obeyed."""
    average.save_pretrained(plan.folder / kind.stage)
    model = load_model(kind, plan.folder, plan.device)
    classifier = load_classifier(plan.folder).to(plan.device)
    found, pictures = obeyed(kind, model, classifier, seen, plan.seed, JUDGED)
    save_grid(pictures[:60], plan.folder / f"{kind.stage}.png", 12)
    (plan.folder / f"{kind.stage}.accuracy.json").write_text(json.dumps(found, indent=1) + "\n")

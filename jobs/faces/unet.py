"""Stage unet: the denoiser of latents, predicting eps at Stable Diffusion's betas, and pictures it draws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from emoji.grid import save_grid
from emoji.unet import new_scheduler
from torch import Tensor
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.captions import full_caption
from faces.classifier import Classifier, load_classifier, predict, shares
from faces.pictures import Pool
from faces.text import WIDTH, Text, draw_captions
from faces.vae import CHANNELS, encode

BATCH = 16  # on each rank; small: the number of updates counts more than their noise
GUIDANCE = 3.0
STEPS = 25  # of DDIM


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


@dataclass
class Loss:
    """Mean squared error of the predicted noise at uniform timesteps, under new captions each time."""

    unet: UNet2DConditionModel
    latents: Tensor
    labels: Tensor
    text: Text
    alphas_cumprod: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        device = self.unet.device
        rows = torch.randint(len(self.latents), (BATCH,), generator=generator)
        states = self.text(draw_captions(self.labels[rows], generator))
        x0 = self.latents[rows].to(device).float()
        t = torch.randint(1000, (BATCH,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator).to(device)
        abar = self.alphas_cumprod[t].to(device)[:, None, None, None]
        x = (abar.sqrt() * x0 + (1 - abar).sqrt() * eps).contiguous(memory_format=torch.channels_last)
        predicted = self.unet(x, t.to(device), encoder_hidden_states=states).sample
        return {"loss": F.mse_loss(predicted.float(), eps)}


def train_unet(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes ``unet``, faces drawn by full captions to ``unet.png``, and what of them is obeyed."""
    torch.manual_seed(plan.seed)
    vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device, memory_format=torch.channels_last)
    latents = cached_latents(vae, pool, plan.folder)
    unet = UNet2DConditionModel.from_pretrained(plan.start / "unet") if plan.start else new_unet()
    unet = unet.to(plan.device, memory_format=torch.channels_last)
    loss = Loss(unet, latents, pool.labels, Text.load(plan.folder, plan.device), new_scheduler().alphas_cumprod)
    average, state = fit(unet, loss, Setting("unet", plan, Rate(1e-3)))
    average.save_pretrained(plan.folder / "unet")
    classifier = load_classifier(plan.folder / "classifier.safetensors").to(plan.device)
    found, pictures = obeyed(load_pipeline(plan.folder, plan.device), classifier, seen, plan.seed)
    save_grid(pictures[:60], plan.folder / "unet.png", 12)
    (plan.folder / "unet.accuracy.json").write_text(json.dumps(found, indent=1) + "\n")
    return state


def load_pipeline(folder: Path, device: str) -> StableDiffusionPipeline:
    """The trained parts as one pipeline, in float32."""
    text = Text.load(folder, device)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=text.tower,
        tokenizer=text.tokenizer,
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def obeyed(
    pipeline: StableDiffusionPipeline, classifier: Classifier, pool: Pool, seed: int, count: int = 240
) -> tuple[dict[str, float], Tensor]:
    """What the classifier reads of faces drawn by captions of all attributes: the share that obeys, by attribute."""
    labels = pool.labels[:count]
    pictures = sample(pipeline, [full_caption(tuple(row)) for row in labels.tolist()], seed)
    right = predict(classifier, pictures.to(pipeline.device)).cpu() == labels
    return shares(np.asarray(right)), pictures


def sample(pipeline: StableDiffusionPipeline, captions: list[str], seed: int) -> Tensor:
    """One picture a caption, ``(n, 3, 64, 64)`` in [-1, 1]."""
    parts = []
    for first in range(0, len(captions), 60):
        part = captions[first : first + 60]
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + first + i) for i in range(len(part))]
        options = {"guidance_scale": GUIDANCE, "num_inference_steps": STEPS, "output_type": "pt"}
        parts.append(pipeline(part, generator=generators, **options).images * 2 - 1)
    return torch.cat(parts).float().cpu()

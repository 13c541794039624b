"""Stage unet: the denoiser of latents, predicting eps at Stable Diffusion's betas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting
from transformers import CLIPTextModel, CLIPTokenizer

from emoji.clip import WIDTH, tokenize
from emoji.dataset import Dataset
from emoji.grid import save_grid
from emoji.pool import cached_pool, to_float

BATCH = 32  # on each rank
ROUNDS = 16  # of the pool's renderings that are encoded
DROPPED = 0.12  # share of the prompts replaced by the empty one, for guidance and for use without a prompt


def new_unet() -> UNet2DConditionModel:
    """The untrained network: 16, 8 and 4 cells wide, attention at 8 and 4 (at 16 it trebles a step)."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(80, 96, 128),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,  # the number of heads: diffusers keeps the old name
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's betas."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


@torch.no_grad()
def cached_latents(dataset: Dataset, vae: AutoencoderKL, folder: Path, seed: int, device: str) -> Tensor:
    """Scaled posterior means of the pool, (16, glyphs, 4, 16, 16), fp16, kept in `folder/latents.pt`."""
    path = folder / "latents.pt"
    if not path.exists():
        pool = cached_pool(dataset, folder, seed, device)[:ROUNDS]
        parts = [vae.encode(to_float(part)).latent_dist.mean for part in torch.split(pool.flatten(0, 1), 64)]
        latents = (torch.cat(parts) * vae.config.scaling_factor).half().unflatten(0, pool.shape[:2])
        torch.save(latents.cpu(), path)
    return torch.load(path, weights_only=True).to(device)


@torch.no_grad()
def text_states(folder: Path, prompts: list[str], device: str) -> Tensor:
    """The text tower's last hidden states, (n, 24, 128); the last row is the empty prompt's."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tower = CLIPTextModel.from_pretrained(folder / "text_encoder").to(device)
    ids = tokenize(tokenizer, [*prompts, ""]).to(device)
    return torch.cat([tower(part).last_hidden_state for part in torch.split(ids, 256)])


@dataclass
class Loss:
    """Mean squared error of the predicted noise at uniform timesteps."""

    unet: UNet2DConditionModel
    latents: Tensor
    states: Tensor
    alphas_cumprod: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        device = self.latents.device
        rounds, count = self.latents.shape[:2]
        glyphs = torch.randint(count, (BATCH,), generator=generator)
        x0 = self.latents[torch.randint(rounds, (BATCH,), generator=generator), glyphs].float()
        t = torch.randint(1000, (BATCH,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator).to(device)
        dropped = torch.rand(BATCH, generator=generator) < DROPPED
        states = self.states[torch.where(dropped, count, glyphs)]
        abar = self.alphas_cumprod[t].to(device)[:, None, None, None]
        x = (abar.sqrt() * x0 + (1 - abar).sqrt() * eps).contiguous(memory_format=torch.channels_last)
        predicted = self.unet(x, t.to(device), encoder_hidden_states=states).sample
        return {"loss": F.mse_loss(predicted.float(), eps)}


def train_unet(dataset: Dataset, plan: Plan) -> State:
    """Trains on cached latents; writes `folder/unet` and guided samples to `unet.png`."""
    torch.manual_seed(plan.seed)
    prompts = [dataset.entries[i].prompt for i in dataset.indices("train").tolist()]
    vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device)
    latents = cached_latents(dataset, vae, plan.folder, plan.seed, plan.device)
    unet = UNet2DConditionModel.from_pretrained(plan.start / "unet") if plan.start else new_unet()
    unet = unet.to(plan.device, memory_format=torch.channels_last)
    loss = Loss(unet, latents, text_states(plan.folder, prompts, plan.device), new_scheduler().alphas_cumprod)
    average, state = fit(unet, loss, Setting("unet", plan, Rate(1e-3)))
    average.save_pretrained(plan.folder / "unet")
    chosen = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(plan.seed))[:60].tolist()
    save_grid(
        sample(load_pipeline(plan.folder, plan.device), [prompts[i] for i in chosen], plan.seed),
        plan.folder / "unet.png",
        12,
    )
    return state


def load_pipeline(folder: Path, device: str) -> StableDiffusionPipeline:
    """The trained parts as one pipeline, in float32."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "decoder"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def sample(pipeline: StableDiffusionPipeline, prompts: list[str], seed: int, guidance: float = 3.0) -> Tensor:
    """One picture a prompt by 25 steps of DDIM, (n, 3, 64, 64) in [-1, 1]."""
    parts = []
    for first in range(0, len(prompts), 64):
        part = prompts[first : first + 64]
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + first + i) for i in range(len(part))]
        options = {"guidance_scale": guidance, "num_inference_steps": 25, "output_type": "pt"}
        parts.append(pipeline(part, generator=generators, **options).images * 2 - 1)
    return torch.cat(parts).float().cpu()

"""emoji-64 tuned for inpainting: a UNet of nine input channels as that of emoji-64 plus a small file of changes."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.utils import parametrize
from training.fit import Losses

from emoji.clip import tokenize
from emoji.export import forget_origin
from emoji.render import SIZE, Renderer
from emoji.unet import new_scheduler
from fcs.models.inpainting import StableDiffusionInpaint
from fcs.models.stable_diffusion import StableDiffusion
from fcs.tools.pack.masks import draw

BATCH = 16
KINDS = ("half", "box", "freeform", "outpaint")
EVERYTHING = 0.15  # share of the records of which nothing is given
DROPPED = 0.5  # share of the prompts replaced by the empty one: the tables' prompts are empty
MOST = 2 * 1024**2  # bytes of the changes
Deltas = dict[str, Tensor]


class LowRank(nn.Module):
    """A weight plus a product of two thin matrices, nothing at first (Hu et al. 2022, LoRA)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        size = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, size) / math.sqrt(size))
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + (self.up @ self.down).view_as(weight)


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same network with nine input channels, blind to the five new ones."""
    latents = unet.config.in_channels
    wide = UNet2DConditionModel.from_config({**unet.config, "in_channels": StableDiffusionInpaint.inputs(latents)})
    state = unet.state_dict()
    blind = torch.zeros_like(wide.conv_in.weight)
    blind[:, :latents] = state["conv_in.weight"]
    wide.load_state_dict({**state, "conv_in.weight": blind})
    return wide


def tunable(unet: UNet2DConditionModel, rank: int) -> UNet2DConditionModel:
    """A widened network of which only the input convolution and low-rank changes of all other layers learn."""
    unet.requires_grad_(False)
    unet.conv_in.weight.requires_grad_(True)
    for module in list(unet.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear) and module is not unet.conv_in:
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
    return unet


def changed(unet: nn.Module) -> Iterator[tuple[str, LowRank]]:
    """The low-rank changes, by name of the layer."""
    for name, module in unet.named_modules():
        if isinstance(module, LowRank):
            yield name.removesuffix(".parametrizations.weight.0"), module


def deltas(unet: UNet2DConditionModel) -> Deltas:
    """What was learnt, fp16.

    Raises:
        ValueError: it is more than fits.
    """
    found = {"conv_in.weight": unet.conv_in.weight.detach().half()}
    for name, change in changed(unet):
        found |= {f"{name}.down": change.down.detach().half(), f"{name}.up": change.up.detach().half()}
    found = {name: value.contiguous() for name, value in found.items()}
    size = sum(2 * value.numel() for value in found.values())
    if size > MOST:
        raise ValueError(f"{size} bytes of changes: expected at most {MOST}; take a smaller --rank")
    return found


@torch.no_grad()
def merged(unet: UNet2DConditionModel, found: Deltas) -> UNet2DConditionModel:
    """The tuned network, as one without low-rank parts."""
    wide = widened(unet)
    wide.conv_in.weight.copy_(found["conv_in.weight"])
    for name, module in wide.named_modules():
        if f"{name}.up" in found:
            change = found[f"{name}.up"].float() @ found[f"{name}.down"].float()
            module.weight += change.view_as(module.weight)
    return wide


def write_model(base: Path, found: Deltas, folder: Path) -> None:
    """A diffusers folder of the tuned model, in fp16 as its base; made beside and renamed."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(base, part, ignore=shutil.ignore_patterns("unet", "clip", "card.*"))
    tuned = merged(UNet2DConditionModel.from_pretrained(base / "unet"), found)
    tuned.half().save_pretrained(part / "unet")
    forget_origin(part / "unet" / "config.json")
    index = json.loads((part / "model_index.json").read_text())
    index["_class_name"] = "StableDiffusionInpaintPipeline"
    (part / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def random_masks(count: int, generator: torch.Generator) -> Tensor:
    """Sides, boxes, strokes and frames of all sizes, some all white; ``(count, 1, 64, 64)``, 1 = generate."""
    masks = torch.ones(count, 1, SIZE, SIZE)
    for mask in masks:
        kind, chance = (int(torch.randint(2**31, (1,), generator=generator)) for _ in range(2))
        share, everything = torch.rand(2, generator=generator).tolist()
        if everything >= EVERYTHING:
            drawn = draw(KINDS[kind % len(KINDS)], SIZE, SIZE, 0.15 + 0.6 * share, chance)
            mask[0] = torch.from_numpy(np.asarray(drawn).copy()) / 255
    return masks


@torch.no_grad()
def text_states(model: StableDiffusion, prompts: list[str]) -> Tensor:
    """The text tower's last hidden states ``(n + 1, L, D)``; the last row is the empty prompt's."""
    ids = tokenize(model.text.tokenizer, [*prompts, ""])
    return torch.cat([model.text.encoder(part).last_hidden_state for part in torch.split(ids, 256)])


@dataclass
class Loss:
    """Mean squared error of the predicted noise at uniform timesteps, the network seeing mask and masked picture.

    Attributes:
        unet: the network.
        vae: encodes, by its posterior's mean.
        renderer: draws glyphs.
        glyphs: which.
        states: their prompts', and the empty one's last.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    renderer: Renderer
    glyphs: Tensor
    states: Tensor

    def __call__(self, generator: torch.Generator) -> Losses:
        """The loss of one batch."""
        chosen = torch.randint(len(self.glyphs), (BATCH,), generator=generator)
        pictures = self.renderer(self.glyphs[chosen], generator)
        masks = random_masks(BATCH, generator)
        x0, known = self._encode(torch.cat([pictures, pictures * (1 - masks)])).chunk(2)
        t = torch.randint(1000, (BATCH,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        dropped = torch.rand(BATCH, generator=generator) < DROPPED
        states = self.states[torch.where(dropped, len(self.glyphs), chosen)]
        abar = new_scheduler().alphas_cumprod[t][:, None, None, None]
        x = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        seen = torch.cat([x, F.interpolate(masks, x0.shape[2:]), known], 1)
        predicted = self.unet(seen, t, encoder_hidden_states=states).sample
        return {"loss": F.mse_loss(predicted.float(), eps)}

    @torch.no_grad()
    def _encode(self, pictures: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):  # what is learnt from stays as exact as it was
            mean: Tensor = self.vae.encode(pictures).latent_dist.mean
        return mean * self.vae.config.scaling_factor

    @torch.no_grad()
    def mean(self, unet: UNet2DConditionModel, batches: int, seed: int) -> float:
        """The mean loss of a network over batches that depend on the seed alone."""
        own = Loss(unet, self.vae, self.renderer, self.glyphs, self.states)
        found = [own(torch.Generator().manual_seed(2**40 + 1000 * seed + i))["loss"] for i in range(batches)]
        return torch.stack(found).mean().item()

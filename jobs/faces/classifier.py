"""Stage classifier: a head for each attribute on one small convolutional network; it judges, and teaches the VAE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.attributes import ATTRIBUTES, NAMES
from faces.pictures import Pool

BATCH = 32  # on each rank
WIDTHS = (32, 64, 96)


class Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(N, width, H, W)`` of features."""
        h = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = convolution(F.relu(norm(h)))
        return x + h


class Classifier(nn.Module):
    """Logits of every attribute's classes from pictures ``(N, 3, 64, 64)`` in [-1, 1].

    The last map, 8 x 8, goes to the heads as it is, not averaged: eyes, brows and mouths have their places.
    """

    def __init__(self, classes: tuple[int, ...] = tuple(len(a.choices) for a in ATTRIBUTES)) -> None:
        super().__init__()
        self.classes = classes
        steps = zip((3, *WIDTHS), WIDTHS, strict=False)
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in steps)
        self.blocks = nn.ModuleList(Block(width) for width in WIDTHS)
        self.leave = nn.Conv2d(WIDTHS[-1], 16, 1)
        self.heads = nn.Linear(16 * 8 * 8, sum(classes))

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps 32, 16 and 8 wide."""
        maps: list[Tensor] = []
        for halving, block in zip(self.halvings, self.blocks, strict=True):
            maps.append(block(halving(F.relu(maps[-1]) if maps else x)))
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits ``(N, classes)`` of each attribute."""
        return self.read(self.features(x)[-1])

    def read(self, last: Tensor) -> list[Tensor]:
        """The same from the last of ``features``."""
        flat = F.relu(self.leave(F.relu(last))).flatten(1)
        return list(self.heads(F.dropout(flat, 0.2, self.training)).split(self.classes, 1))


@dataclass
class Loss:
    """Cross-entropy of all attributes, on pictures moved by up to two pixels, with a little noise."""

    net: Classifier
    pool: Pool

    def __call__(self, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        x, labels = self.pool.draw(BATCH, generator)
        dy, dx = torch.randint(5, (2,), generator=generator).tolist()
        x = F.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, dy : dy + 64, dx : dx + 64]
        sigma = 0.1 * torch.rand(len(x), 1, 1, 1, generator=generator)
        x = x + (sigma * torch.randn(x.shape, generator=generator)).to(x.device)
        logits = self.net(x)
        parts = [F.cross_entropy(own, labels[:, i]) for i, own in enumerate(logits)]
        right = torch.stack([(own.argmax(1) == labels[:, i]).float().mean() for i, own in enumerate(logits)])
        return {"loss": torch.stack(parts).sum(), "_right": right.mean(), "_worst": right.min()}


def train_classifier(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes ``classifier.safetensors`` in fp16 and its accuracy on new draws beside."""
    torch.manual_seed(plan.seed)
    net = Classifier().to(plan.device, memory_format=torch.channels_last)
    average, state = fit(net, Loss(net, pool), Setting("classifier", plan, Rate(2e-3), weight_decay=0.05))
    weights = {name: value.half().contiguous().cpu() for name, value in average.state_dict().items()}
    save_file(weights, plan.folder / "classifier.safetensors")
    right = accuracy(load_classifier(plan.folder / "classifier.safetensors").to(plan.device), seen)
    (plan.folder / "classifier.accuracy.json").write_text(json.dumps(right, indent=1) + "\n")
    return state


def load_classifier(path: Path) -> Classifier:
    """The trained network in float32, in evaluation mode."""
    net = Classifier().eval().requires_grad_(False)
    net.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return net.to(memory_format=torch.channels_last)


@torch.no_grad()
def predict(net: Classifier, x: Tensor) -> Tensor:
    """The likeliest classes ``(N, attributes)`` of pictures in [-1, 1]."""
    return torch.cat([torch.stack([own.argmax(1) for own in net(part)], 1) for part in x.split(250)])


def accuracy(net: Classifier, pool: Pool) -> dict[str, float]:
    """The share of right classes by attribute, over all pictures of a pool."""
    found = torch.cat([predict(net, pool.rows(rows)[0]) for rows in torch.arange(len(pool)).split(250)])
    return shares(found.cpu().numpy() == pool.labels.numpy())


def shares(right: np.ndarray) -> dict[str, float]:
    """Means of ``(n, attributes)`` by attribute."""
    return {name: round(float(value), 4) for name, value in zip(NAMES, right.mean(0), strict=True)}

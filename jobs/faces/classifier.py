"""Stage classifier: a head for each attribute on one small convolutional network; it judges, and teaches the VAE."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.attributes import ATTRIBUTES, NAMES
from faces.pictures import Pool
from fcs.metrics.attributes import AttributeClassifier

BATCH = 32  # on each rank
FILE = "classifier.safetensors"
CLASSES = tuple(len(a.choices) for a in ATTRIBUTES)


@dataclass
class Loss:
    """Cross-entropy of all attributes, on pictures moved by up to two pixels, with a little noise."""

    net: AttributeClassifier
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
    net = AttributeClassifier(CLASSES).to(plan.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average, state = fit(net, Loss(net, pool), Setting("classifier", plan, Rate(2e-3), weight_decay=0.05))
    weights = {name: value.half().contiguous().cpu() for name, value in average.state_dict().items()}
    save_file(weights, plan.folder / FILE)
    right = accuracy(load_classifier(plan.folder).to(plan.device), seen)
    (plan.folder / "classifier.accuracy.json").write_text(json.dumps(right, indent=1) + "\n")
    return state


def load_classifier(folder: Path) -> AttributeClassifier:
    """What ``train_classifier`` wrote."""
    return AttributeClassifier.load(folder / FILE, CLASSES)


def accuracy(net: AttributeClassifier, pool: Pool) -> dict[str, float]:
    """The share of right classes by attribute, over all pictures of a pool."""
    found = torch.cat([net.predict(pool.rows(rows)[0]) for rows in torch.split(torch.arange(len(pool)), 250)])
    return shares(found.cpu().numpy() == pool.labels.numpy())


def shares(right: np.ndarray) -> dict[str, float]:
    """Means of ``(n, attributes)`` by attribute."""
    return {name: round(float(value), 4) for name, value in zip(NAMES, right.mean(0), strict=True)}

"""Stage text: CLIP's text tower, taught to tell which class of each attribute a caption names, if any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from emoji.text import make_tokenizer
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from faces.attributes import ATTRIBUTES, NAMES
from faces.captions import draw_caption, named
from faces.pictures import Pool

BATCH = 96  # on each rank
LENGTH = 48  # tokens of a caption with its two marks: the longest has 42
WIDTH = 128


class Reader(nn.Module):
    """The text tower and a head for each attribute on its end mark; the last class of a head is "not named"."""

    def __init__(self, tower: CLIPTextModel) -> None:
        super().__init__()
        self.tower = tower
        self.heads = nn.ModuleList(nn.Linear(WIDTH, len(a.choices) + 1) for a in ATTRIBUTES)

    def forward(self, ids: Tensor) -> list[Tensor]:
        """Logits of each attribute from token ids ``(N, 48)``."""
        state = self.tower(ids).pooler_output
        return [head(state) for head in self.heads]


def new_tower(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The untrained tower: 3 blocks, 128 wide."""
    config = CLIPTextConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=64,
        vocab_size=len(tokenizer),
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids ``(n, 48)``, padded as Stable Diffusion's pipeline pads."""
    ids: Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


def draw_captions(labels: Tensor, generator: torch.Generator) -> list[str]:
    """New captions of faces with these labels, ``(n, attributes)``."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    return [draw_caption(tuple(row), rng) for row in labels.tolist()]


@dataclass
class Loss:
    """Cross-entropy of all attributes, named or not."""

    reader: Reader
    tokenizer: CLIPTokenizer
    labels: Tensor
    device: str

    def __call__(self, generator: torch.Generator) -> Losses:
        """The losses of one batch."""
        labels = self.labels[torch.randint(len(self.labels), (BATCH,), generator=generator)]
        captions = draw_captions(labels, generator)
        logits = self.reader(tokenize(self.tokenizer, captions).to(self.device))
        truth = targets(captions, labels).to(self.device)
        parts = [F.cross_entropy(own, truth[:, i]) for i, own in enumerate(logits)]
        right = torch.stack([(own.argmax(1) == truth[:, i]).float().mean() for i, own in enumerate(logits)])
        return {"loss": torch.stack(parts).mean(), "_right": right.mean(), "_worst": right.min()}


def targets(captions: list[str], labels: Tensor) -> Tensor:
    """The classes that captions name, ``(n, attributes)``; one past the last where they do not."""
    rows = [
        [label if i in named(caption, tuple(row)) else len(ATTRIBUTES[i].choices) for i, label in enumerate(row)]
        for caption, row in zip(captions, labels.tolist(), strict=True)
    ]
    return torch.tensor(rows)


def train_text(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains; writes ``tokenizer``, ``text_encoder`` and how well it reads new captions to ``text.accuracy.json``."""
    torch.manual_seed(plan.seed)
    captions = draw_captions(pool.labels[:5000], torch.Generator().manual_seed(plan.seed))
    tokenizer = make_tokenizer(captions, plan.folder / "tokenizer", LENGTH)
    reader = Reader(new_tower(tokenizer)).to(plan.device)
    loss = Loss(reader, tokenizer, pool.labels, plan.device)
    average, state = fit(reader, loss, Setting("text", plan, Rate(1e-3), average=0.99))
    average.tower.save_pretrained(plan.folder / "text_encoder")
    right = reading(average, tokenizer, seen, plan)
    (plan.folder / "text.accuracy.json").write_text(json.dumps(right, indent=1) + "\n")
    return state


@torch.no_grad()
def reading(reader: Reader, tokenizer: CLIPTokenizer, pool: Pool, plan: Plan, count: int = 1000) -> dict[str, float]:
    """The share of right classes by attribute in new captions."""
    labels = pool.labels[:count]
    captions = draw_captions(labels, torch.Generator().manual_seed(plan.seed + 1))
    truth, right = targets(captions, labels), []
    for ids, rows in zip(torch.split(tokenize(tokenizer, captions), 100), torch.split(truth, 100), strict=True):
        found = torch.stack([own.argmax(1) for own in reader(ids.to(plan.device))], 1).cpu()
        right.append(found == rows)
    means = torch.cat(right).float().mean(0).tolist()
    return {name: round(value, 4) for name, value in zip(NAMES, means, strict=True)}


@dataclass
class Text:
    """The trained tower as the UNet uses it."""

    tokenizer: CLIPTokenizer
    tower: CLIPTextModel

    @classmethod
    def load(cls, folder: Path, device: str) -> Text:
        """What ``train_text`` wrote."""
        tower = CLIPTextModel.from_pretrained(folder / "text_encoder").to(device).eval().requires_grad_(False)
        return cls(CLIPTokenizer.from_pretrained(folder / "tokenizer"), tower)

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> Tensor:
        """The tower's last hidden states ``(n, 48, 128)``."""
        states: Tensor = self.tower(tokenize(self.tokenizer, captions).to(self.tower.device)).last_hidden_state
        return states

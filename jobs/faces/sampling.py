"""Faces drawn by captions, with any kind of denoiser: steps of DDIM, which for a flow are Euler's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from torch import Tensor

from faces.captions import full_caption
from faces.classifier import shares
from faces.kinds import Kind
from faces.pictures import Pool
from faces.text import Text
from fcs.core.levels import pairs
from fcs.core.per_sample import RecordNoise
from fcs.metrics.attributes import AttributeClassifier
from fcs.models.base import Model
from fcs.models.from_memory import from_memory
from fcs.samplers.base import ddim_step, with_eta

BATCH = 60


def load_pipeline(kind: Kind, folder: Path, part: str | None = None) -> DiffusionPipeline:
    """The trained parts in float32, as a pipeline; the network lies in ``folder/part``, or in that of its stage."""
    network = kind.architecture.network.from_pretrained(folder / (part or kind.stage), torch_dtype=torch.float32)
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    return kind.architecture.pipeline(network, vae, Text.load(folder, "cpu"), kind.scheduler())


def load_model(kind: Kind, folder: Path, device: str) -> Model:
    """A trained pipeline as the library takes it."""
    return from_memory(load_pipeline(kind, folder)).to(device).eval()


def obeyed(
    kind: Kind, model: Model, classifier: AttributeClassifier, pool: Pool, seed: int, count: int
) -> tuple[dict[str, float], Tensor]:
    """What the classifier reads of faces drawn by captions of all attributes: the share that obeys, by attribute."""
    labels = pool.labels[:count]
    pictures = draw_faces(kind, model, [full_caption(tuple(row)) for row in labels.tolist()], seed)
    right = classifier.predict(pictures.to(model.device)).cpu() == labels
    return shares(np.asarray(right)), pictures


@torch.no_grad()
def draw_faces(kind: Kind, model: Model, captions: list[str], seed: int) -> Tensor:
    """One picture a caption, ``(n, 3, 64, 64)`` in [-1, 1]."""
    parts = []
    levels = pairs(model.schedule.levels(kind.steps))
    new_noise = model.schedule.consistency
    for first in range(0, len(captions), BATCH):
        part = captions[first : first + BATCH]
        randn = RecordNoise([seed * 1_000_003 + first + i for i in range(len(part))], model.device)
        guided = model.guided(part, scale=kind.guidance)
        x = randn(model.shape)
        for t, s in levels:
            x = ddim_step(x, guided(x, t), t, s if new_noise else with_eta(t, s, 0), randn)
        parts.append(model.decode(x).clamp(-1, 1).cpu())
    return torch.cat(parts)

"""What the card reports: reconstructions, retrieval, and whether samples obey their captions."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from emoji.clip import features, tokenize
from emoji.dataset import Dataset
from emoji.unet import sample
from emoji.vae import psnr_by_glyph

SPLITS = {"seen": "train", "unseen": "held-out"}
Scores = dict[str, object]


def vae_scores(vae: AutoencoderKL, dataset: Dataset, seed: int, device: str) -> Scores:
    """Mean PSNR in dB of one new rendering of every glyph, and the ten worst of those never seen."""
    values = {name: psnr_by_glyph(vae, dataset, split, seed, device) for name, split in SPLITS.items()}
    worst = sorted(values["unseen"].items(), key=lambda item: item[1])[:10]
    means = {f"psnr_{name}": round(float(np.mean(list(of.values()))), 2) for name, of in values.items()}
    return {
        **means,
        "worst_unseen": [{"glyph": dataset.entries[i].prompt, "psnr": round(db, 2)} for i, db in worst],
    }


def retrieval(clip: CLIPModel, dataset: Dataset, split: str, tokenizer: CLIPTokenizer, seed: int) -> Scores:
    """How often a new rendering's nearest prompt, of all those of its split, is its own."""
    glyphs = dataset.indices(split)
    pictures = dataset.renderer(str(clip.device))(glyphs, torch.Generator().manual_seed(seed + 3))
    ids = tokenize(tokenizer, [dataset.entries[i].prompt for i in glyphs.tolist()]).to(clip.device)
    images, texts = features(clip, pictures, ids)
    right = (images @ texts.T).argmax(1) == torch.arange(len(glyphs), device=images.device)
    return {"top1": round(right.float().mean().item(), 3), "candidates": len(glyphs)}


def caption_scores(
    pipeline: StableDiffusionPipeline, clip: CLIPModel, dataset: Dataset, split: str, count: int, seed: int
) -> tuple[Scores, Tensor]:
    """Whether samples obey their captions, beside real renderings of the same glyphs; also the samples.

    The same CLIP conditions the UNet and gives the score, so samples can please it without looking like their
    captions; only the figure of real renderings says how far its word can be trusted.
    """
    glyphs = dataset.indices(split)
    glyphs = glyphs[torch.randperm(len(glyphs), generator=torch.Generator().manual_seed(seed))[:count]]
    prompts = [dataset.entries[i].prompt for i in glyphs.tolist()]
    ids = tokenize(pipeline.tokenizer, prompts).to(clip.device)
    pictures = sample(pipeline, prompts, seed)
    real = dataset.renderer()(glyphs, torch.Generator().manual_seed(seed + 4))
    scores: Scores = {
        "captions": len(prompts),
        "samples": true_minus_shuffled(clip, pictures.to(clip.device), ids, seed),
        "real": true_minus_shuffled(clip, real.to(clip.device), ids, seed),
    }
    return scores, pictures


def true_minus_shuffled(clip: CLIPModel, pictures: Tensor, ids: Tensor, seed: int) -> Scores:
    """CLIP score (100 x cosine) of pictures with their captions minus that with each other's captions.

    The interval is the 2.5th to 97.5th percentile of 2000 bootstrap means.
    """
    images, texts = features(clip, pictures, ids)
    cosine = 100 * (images @ texts.T)
    others = (cosine.sum(1) - cosine.diag()) / (len(ids) - 1)
    low, mean, high = interval((cosine.diag() - others).cpu().numpy(), seed)
    return {
        "true": round(cosine.diag().mean().item(), 2),
        "shuffled": round(others.mean().item(), 2),
        "difference": round(mean, 2),
        "interval": [round(low, 2), round(high, 2)],
    }


def interval(values: np.ndarray, seed: int, resamples: int = 2000) -> tuple[float, float, float]:
    """Bootstrap percentiles and mean: (2.5th, mean, 97.5th)."""
    chosen = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[chosen].mean(1), [2.5, 97.5])
    return float(low), float(values.mean()), float(high)

"""Stage export: the folder that ships, in Stable Diffusion's format, and its card."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPModel

from emoji.clip import image_processor
from emoji.dataset import Dataset
from emoji.grid import save_grid
from emoji.scores import SPLITS, Scores, caption_scores, retrieval, vae_scores
from emoji.unet import load_pipeline

LICENCE = "SIL Open Font License 1.1"
SUMMARY = "A small latent text-to-image model of emoji, in Stable Diffusion's format."
CAPTIONS = 128  # samples scored, of each split


def export(dataset: Dataset, folder: Path, weights: Path, seed: int, device: str, note: str = "") -> None:
    """Writes the trained parts to `weights` in fp16 and scores what was written, in float32.

    All of it is made beside and renamed, so `weights` is never half a model. `note` goes to the card.
    """
    part = weights.with_name(weights.name + ".part")
    write_weights(folder, part)
    pipeline = StableDiffusionPipeline.from_pretrained(part, safety_checker=None).to(device)
    pipeline.set_progress_bar_config(disable=True)
    clip = CLIPModel.from_pretrained(part / "clip").to(device).eval()
    scores = score(pipeline, clip, dataset, folder, seed)
    card = {**make_card(pipeline, clip, dataset, folder, scores, device), "note": note}
    (part / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (part / "card.md").write_text(card_text(card, SUMMARY))
    shutil.rmtree(weights, ignore_errors=True)
    part.rename(weights)


def write_weights(folder: Path, weights: Path) -> None:
    """The pipeline's folder, and the whole CLIP beside it; no file over 9 MB."""
    shutil.rmtree(weights, ignore_errors=True)
    load_pipeline(folder, "cpu").to(torch.float16).save_pretrained(weights, max_shard_size="8MB")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(folder / "tokenizer" / name, weights / "tokenizer" / name)
    CLIPModel.from_pretrained(folder / "clip").half().save_pretrained(weights / "clip")
    image_processor().save_pretrained(weights / "clip")
    tidy(weights, ("text_encoder", "clip"))


def tidy(weights: Path, towers: Sequence[str]) -> None:
    """Configurations that mean the same anywhere, and files that anybody may read."""
    for part in towers:
        declare_float32(weights / part / "config.json")
    for config in weights.rglob("config.json"):
        forget_origin(config)
    for path in weights.rglob("*.safetensors"):
        path.chmod(0o644)


def declare_float32(config: Path) -> None:
    """Stored in fp16, run in float32: else transformers loads halves where diffusers loads floats."""
    saved = {**json.loads(config.read_text()), "dtype": "float32"}
    config.write_text(json.dumps(saved, indent=2) + "\n")


def forget_origin(config: Path) -> None:
    """Without the folder that the part was loaded from, which means nothing elsewhere."""
    saved = {name: value for name, value in json.loads(config.read_text()).items() if name != "_name_or_path"}
    config.write_text(json.dumps(saved, indent=2) + "\n")


def score(
    pipeline: StableDiffusionPipeline, clip: CLIPModel, dataset: Dataset, folder: Path, seed: int
) -> dict[str, Scores]:
    """All scores by stage; samples of both splits' captions are drawn to `samples-SPLIT.png`."""
    captions: Scores = {}
    found: Scores = {}
    for name, split in SPLITS.items():
        captions[name], pictures = caption_scores(pipeline, clip, dataset, split, CAPTIONS, seed)
        found[name] = retrieval(clip, dataset, split, pipeline.tokenizer, seed)
        save_grid(pictures[:60], folder / f"samples-{name}.png", columns=12)
    reconstructions = vae_scores(pipeline.vae, dataset, seed, str(clip.device))
    return {"vae": reconstructions, "clip_retrieval": found, "captions_obeyed": captions}


def parameters(module: nn.Module) -> int:
    """The number of weights."""
    return sum(weight.numel() for weight in module.parameters())


def make_card(
    pipeline: StableDiffusionPipeline,
    clip: CLIPModel,
    dataset: Dataset,
    folder: Path,
    scores: dict[str, Scores],
    device: str,
) -> dict[str, object]:
    """Data, split, sizes, training and scores."""
    parts = {"unet": pipeline.unet, "vae": pipeline.vae, "clip": clip, "text_encoder": pipeline.text_encoder}
    training = {stage: training_of(folder / f"{stage}.json") for stage in ("vae", "decoder", "clip", "unet")}
    minutes = " ".join(f"--minutes-{stage} {about['minutes']}" for stage, about in training.items())
    return {
        "name": "emoji-64",
        "format": "Stable Diffusion's folder: 64 px, factor 4, 4 latent channels, predicts eps",
        "data": {
            "source": "glyphs of Noto Color Emoji (Debian package fonts-noto-color-emoji)",
            "font": dataset.font,
            "licence": LICENCE,
            "prompts": "Unicode names in lower case; skin tone, gender and attribute in words; 12 % dropped",
        },
        "split": dataset.summary(),
        "parameters": {name: parameters(part) for name, part in parts.items()},
        "training": training,
        "hardware": torch.cuda.get_device_name()
        if device != "cpu"
        else f"{platform.machine()} CPU, {os.cpu_count()} cores",
        "software": {"torch": torch.__version__},
        "command": "python jobs/build_emoji.py --out runs/emoji/data && "
        f"python jobs/train_emoji.py --stage all --out runs/emoji/model {minutes}",
        "scores": scores,
    }


def training_of(path: Path) -> dict[str, object]:
    """Steps, minutes, the options and the last losses of a stage."""
    saved = json.loads(path.read_text())
    last = saved["history"][-1] if saved["history"] else {}
    losses = {name: value for name, value in last.items() if name not in ("step", "seconds")}
    minutes = round(saved["seconds"] / 60, 1)
    return {"steps": saved["step"], "minutes": minutes, **saved["options"], "last_losses": losses}


def card_text(card: dict[str, object], summary: str) -> str:
    """The card for people: each part of `card.json` under its heading."""
    lines = [f"# {card['name']}", "", summary, ""]
    for name, value in card.items():
        if name != "name":
            lines += [f"## {name}", "", *(_listed(value) if isinstance(value, dict) else [str(value)]), ""]
    return "\n".join(lines)


def _listed(values: dict[str, object], depth: int = 0) -> list[str]:
    lines = []
    for name, value in values.items():
        plain = name.replace("_", " ")
        if isinstance(value, dict):
            lines += ["  " * depth + f"- {plain}", *_listed(value, depth + 1)]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            text = "; ".join(" ".join(str(cell) for cell in row.values()) for row in value)
            lines.append("  " * depth + f"- {plain}: {text}")
        else:
            lines.append("  " * depth + f"- {plain}: {value}")
    return lines

"""Pictures drawn once and used often: drawing one costs as much as a fifth of a training step on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emoji.dataset import Dataset

ROUNDS = 24  # renderings of each training glyph


def draw_pool(dataset: Dataset, rounds: int, seed: int, device: str) -> Tensor:
    """Renderings of all training glyphs, (rounds, glyphs, 3, 64, 64) uint8."""
    generator = torch.Generator().manual_seed(seed)
    renderer, glyphs = dataset.renderer(device), dataset.indices("train")
    drawn = [to_bytes(renderer(part, generator)) for _ in range(rounds) for part in torch.split(glyphs, 256)]
    return torch.unflatten(torch.cat(drawn), 0, (rounds, len(glyphs)))


def cached_pool(dataset: Dataset, folder: Path, seed: int, device: str) -> Tensor:
    """`draw_pool` of ROUNDS, kept in `folder/pool.npy` between stages."""
    path = folder / "pool.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, draw_pool(dataset, ROUNDS, seed, device).cpu().numpy())
        part.replace(path)
    return torch.from_numpy(np.load(path)).to(device)


def to_bytes(pictures: Tensor) -> Tensor:
    """[-1, 1] as uint8."""
    return ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_float(pictures: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) from uint8 to [-1, 1], channels last."""
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)

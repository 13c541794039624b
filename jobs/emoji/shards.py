"""Evaluation shards in the record format: KEY.png, KEY.mask.png (white = generate), KEY.txt, KEY.json."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from emoji.dataset import Dataset, Entry
from emoji.render import SIZE
from fcs.tools.pack.masks import FRACTIONS, draw

Mask = Literal["half", "box", "freeform", "outpaint", "random", "plain"]


def write_shard(path: Path, dataset: Dataset, indices: list[int], mask: Mask, seed: int) -> int:
    """Writes one record a glyph and returns their number; equal arguments give equal bytes.

    The rendering depends on the glyph and the seed only, so a glyph has one picture under both masks.
    """
    renderer = dataset.renderer()
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in indices:
            generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + i)
            picture = renderer(torch.tensor([i]), generator)[0]
            image = ((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            _add_record(tar, dataset.entries[i], image, None if mask == "plain" else mask_of(mask, generator))
    return len(indices)


def mask_of(mask: Mask, generator: torch.Generator) -> NDArray[np.uint8]:
    """The right half, a 32 x 32 box within 4 pixels of the middle, or as ``fcs-pack`` draws it; white = generate."""
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    if mask == "half":
        pixels[:, SIZE // 2 :] = 255
    elif mask == "box":
        top, left = torch.randint(SIZE // 4 - 4, SIZE // 4 + 5, (2,), generator=generator).tolist()
        pixels[top : top + SIZE // 2, left : left + SIZE // 2] = 255
    else:
        chance = int(torch.randint(2**31, (1,), generator=generator))
        pixels = np.asarray(draw(mask, SIZE, SIZE, FRACTIONS[mask], chance))
    return pixels


def _add_record(tar: tarfile.TarFile, entry: Entry, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
    about = {
        "name": entry.prompt,
        "cluster": entry.cluster,
        "codepoints": [f"U+{p:04X}" for p in entry.codepoints],
    }
    _add(tar, f"{entry.key}.png", _png(image))
    if mask is not None:
        _add(tar, f"{entry.key}.mask.png", _png(mask))
    _add(tar, f"{entry.key}.txt", entry.prompt.encode())
    _add(tar, f"{entry.key}.json", json.dumps(about, sort_keys=True).encode())


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member with fixed owner, mode and time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))

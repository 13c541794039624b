"""Pictures side by side in one file, to look at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor


def save_grid(pictures: Tensor, path: Path, columns: int, gap: int = 2) -> None:
    """Saves (N, 3, H, W) in [-1, 1] row by row on white."""
    n, _, height, width = pictures.shape
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    pixels = ((pictures.float().cpu() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    for i in range(n):
        sheet.paste(Image.fromarray(pixels[i]), (i % columns * (width + gap), i // columns * (height + gap)))
    sheet.save(path)

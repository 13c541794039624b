"""What both loops do: the same sampler as fcs-predict's on a batch, whole files, nothing that is done already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from PIL import Image

import fcs
from fcs.models import Model
from fcs.samplers import InexactNewton
from scale.loops import batch_log

BATCH, STEPS, STEP_SIZE = 4, 5, 0.5  # 15 network calls a picture


def left(folder: Path, out: Path) -> list[str]:
    """Pictures without a result."""
    keys = sorted(path.name.removesuffix(".mask.png") for path in folder.glob("*.mask.png"))
    return [key for key in keys if not (out / f"{key}.png").exists()]


def inpaint(model: Model, folder: Path, out: Path, keys: Sequence[str]) -> None:
    """Inpaint the pictures ``folder/KEY.png`` into ``out/KEY.png``; the seeds follow from the names."""
    images = [Image.open(folder / f"{key}.png") for key in keys]
    masks = [Image.open(folder / f"{key}.mask.png") for key in keys]
    seeds = [crc32(key.encode()) for key in keys]
    sampler = InexactNewton(step_sizes=[STEP_SIZE])
    made = fcs.inpaint(model, images, masks, seed=seeds, steps=STEPS, sampler=sampler, progress=False)
    for key, image in zip(keys, made.images, strict=True):
        image.save(out / f"{key}.part", format="png")
        os.replace(out / f"{key}.part", out / f"{key}.png")
    batch_log.write(out / "log", [int(row["nfe"] or 0) for row in made.metrics])

r"""What the way through a pipeline's own call costs, beside Stable Diffusion's own path.

    python jobs/pipelines.py --out docs/figures/pipelines.json

The same model, pictures, prompts and seeds through both, in turns: emoji-64 is Stable Diffusion's layout, so it runs
either way. Writes for each batch size the CPU seconds (user and system, all threads) of both in the median, the median
of their ratio (1 is as fast as the own path), and the largest difference of their pictures of 255.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

import fcs
from fcs.bench.origin import origin, write_json
from fcs.models import Model
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.loading import EMBEDDED


def seconds() -> float:
    """CPU seconds of this process until now."""
    times = os.times()
    return times.user + times.system


def sampled(model: Model, batch: int, steps: int, guidance: float) -> tuple[float, np.ndarray[Any, Any]]:
    """CPU seconds of a batch, and its pictures."""
    height, width = model.picture_shape[1:]
    images = list(np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8))
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    prompts = [f"{colour} apple" for colour in ("red", "green")] * batch
    before = seconds()
    made = fcs.inpaint(model, images, mask, prompts[:batch], 0, steps, guidance=guidance, progress=False)
    return seconds() - before, np.stack([np.asarray(image) for image in made.images]).astype(int)


def compared(ways: tuple[Model, Model], batch: int, steps: int, rounds: int, guidance: float) -> dict[str, Any]:
    """Both ways in turns, after one round that warms up."""
    found = [[sampled(model, batch, steps, guidance) for model in ways] for _ in range(rounds + 1)][1:]
    own, called = zip(*[(first[0], second[0]) for first, second in found], strict=True)
    difference = max(int(abs(first[1] - second[1]).max()) for first, second in found)
    return {
        "batch": batch,
        "guidance": guidance,
        "own_cpu_seconds": round(median(own), 3),
        "called_cpu_seconds": round(median(called), 3),
        "throughput": round(median(first / second for first, second in zip(own, called, strict=True)), 3),
        "largest_difference": difference,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED / "emoji-64", local_files_only=True)
    ways = fcs.load("emoji-64", device="cpu"), DiffusersPipeline(pipe)
    sizes = [int(size) for size in given.batches.split(",")]
    rows = [compared(ways, size, given.steps, given.rounds, scale) for size in sizes for scale in (1.0, 3.0)]
    write_json(given.out, {**origin(), "model": "emoji-64", "steps": given.steps, "rows": rows})


if __name__ == "__main__":
    main()

r"""What the way through a pipeline's own call costs, beside Stable Diffusion's own path.

    python jobs/pipelines.py --out docs/figures/pipelines.json

The same model, pictures, prompts and seeds through both, in pairs of which each way is the first half of the time:
emoji-64 is Stable Diffusion's layout, so it runs either way. Writes for each batch size the CPU seconds (user and
system, all threads) of a batch each way in the median; the throughput of the pipeline's call, 1 being that of the own
path, over all pairs, and its 95 % interval by the bootstrap over pairs; and the largest difference of their pictures of
255.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

import fcs
from fcs.bench.origin import origin, write_json
from fcs.core.intervals import bootstrap_ratio
from fcs.models import Model
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.loading import EMBEDDED


def sampled(model: Model, batch: int, steps: int, guidance: float) -> tuple[float, np.ndarray[Any, Any]]:
    """CPU seconds of a batch, and its pictures."""
    height, width = model.picture_shape[1:]
    images = list(np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8))
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    prompts = [f"{colour} apple" for colour in ("red", "green")] * batch
    before = time.process_time()
    made = fcs.inpaint(model, images, mask, prompts[:batch], 0, steps, guidance=guidance, progress=False)
    return time.process_time() - before, np.stack([np.asarray(image) for image in made.images]).astype(int)


def compared(ways: tuple[Model, Model], batch: int, steps: int, rounds: int, guidance: float) -> dict[str, Any]:
    """Both ways in turns, after one round that warms up."""
    pairs = [in_turn(ways, turn, batch, steps, guidance) for turn in range(rounds + 1)][1:]
    own, called = torch.tensor([[first[0], second[0]] for first, second in pairs]).T
    low, high = bootstrap_ratio(own, called, torch.arange(rounds))
    return {
        "batch": batch,
        "guidance": guidance,
        "own_cpu_seconds": round(own.median().item(), 4),
        "called_cpu_seconds": round(called.median().item(), 4),
        "throughput": round((own.sum() / called.sum()).item(), 3),
        "interval": [round(low, 3), round(high, 3)],
        "largest_difference": max(int(abs(first[1] - second[1]).max()) for first, second in pairs),
    }


def in_turn(ways: tuple[Model, Model], turn: int, batch: int, steps: int, guidance: float) -> list[Any]:
    """What ``sampled`` gives of the own path and the pipeline's call; the latter goes first in odd turns."""
    order = ways[:: -1 if turn % 2 else 1]
    made = [sampled(model, batch, steps, guidance) for model in order]
    return made[:: -1 if turn % 2 else 1]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(EMBEDDED / "emoji-64", local_files_only=True)
    ways = fcs.load("emoji-64", device="cpu"), DiffusersPipeline(pipe)
    sizes = [int(size) for size in given.batches.split(",")]
    rows = [compared(ways, size, given.steps, given.rounds, scale) for size in sizes for scale in (1.0, 3.0)]
    write_json(given.out, {**origin(), "model": "emoji-64", "steps": given.steps, "pairs": given.rounds, "rows": rows})


if __name__ == "__main__":
    main()

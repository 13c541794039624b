"""Records that a model draws itself: their truth is from the very distribution that a sampler should complete from."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import torch
from torch import Tensor

from fcs.bench.origin import origin, write_json
from fcs.bench.tasks import Setup, inpaints
from fcs.core.images import to_pil, to_uint8
from fcs.core.levels import pairs
from fcs.core.per_sample import RecordNoise
from fcs.models import Model, find, load
from fcs.samplers.base import ddim_step
from fcs.tools.cli.pack import main as fcs_pack

STEPS = 50  # of DDIM, without guidance and with empty prompts
BATCH = 16
MADE = "made.json"
MIXED = ("half", "box", "freeform")  # of the task inpaint, which names no mask


def own_records(where: Setup, count: int, seed: int, folder: Path) -> None:
    """Shards ``folder/KIND/*.tar`` with pictures that the model draws, and generated masks where the task needs them.

    What an earlier command drew is kept.

    Args:
        where: model and task.
        count: of pictures.
        seed: of pictures and masks.
        folder: for the shards.
    """
    what = {"model": where.model, "task": where.task, "count": count, "seed": seed, "steps": STEPS}
    made = folder / MADE
    if made.exists() and {key: json.loads(made.read_text()).get(key) for key in what} == what:
        return
    shutil.rmtree(folder, ignore_errors=True)
    pictures = drawn(load(find(where.model)), count, seed)
    kinds = masks(where.task)
    for number, kind in enumerate(kinds):
        _pack(pictures[number :: len(kinds)], kind, seed, folder)
    write_json(made, {**origin(), **what})


def masks(task: str) -> tuple[str | None, ...]:
    """The kinds of generated masks for a task, which records take in turn; None for none."""
    if not inpaints(task):
        return (None,)
    _, _, kind = task.partition("-")
    return (kind,) if kind else MIXED


@torch.no_grad()
def drawn(model: Model, count: int, seed: int) -> Tensor:
    """uint8 ``(count, C, H, W)`` pictures by DDIM from the model alone; the same for the same seed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    levels = model.schedule.levels(STEPS)
    found = []
    for first in range(0, count, BATCH):
        seeds = range(first, min(first + BATCH, count))
        randn = RecordNoise([(seed << 32) + number for number in seeds], device)
        denoise = model.guided([""] * len(seeds))
        x = levels[0].sigma * randn(model.shape)
        for t, s in pairs(levels):
            x = ddim_step(x, denoise(x, t), t, s, randn)
        found.append(to_uint8(model.decode(x)).cpu())
    return torch.cat(found)


def _pack(pictures: Tensor, kind: str | None, seed: int, folder: Path) -> None:
    name = kind or "pictures"
    raw = folder / f"{name}-png"
    raw.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        to_pil(picture).save(raw / f"{number:06d}.png")
    mask = [] if kind is None else ["--mask", kind, "--seed", str(seed)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = fcs_pack([str(raw), str(folder / name), *mask])
    assert code == 0, "pictures that were just written are packed"
    shutil.rmtree(raw)

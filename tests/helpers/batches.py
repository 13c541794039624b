"""Batches of random pictures, and a pipeline that samples one quickly."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.collate import collate
from fcs.core.records import Batch, Record
from fcs.models import Model
from fcs.samplers import InexactNewton
from fcs.tasks import Task
from fcs.tasks.pipeline import Pipeline


def images(n: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    """Random bytes ``(n, 3, size, size)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def batch(pictures: Tensor, masks: Tensor | None = None) -> Batch:
    """Without masks everything is to be generated."""
    n, _, height, width = pictures.shape
    masks = torch.full((n, 1, height, width), 255, dtype=torch.uint8) if masks is None else masks
    return Batch("shard", 0, (None,) * n, pictures, masks, ("",) * n, tuple(range(n)))


def half_masked(count: int, white: int | None = None, without: tuple[int, ...] = ()) -> Batch:
    """Grey 16x16 pictures whose right half is to be generated; one may be white, slots may be empty."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (count, 1, 16, 16), generator=generator, dtype=torch.uint8)
    mask = torch.zeros(1, 16, 16, dtype=torch.uint8)
    mask[..., 8:] = 255
    if white is not None:
        images[white] = 255
    records = [None if i in without else Record(i, str(i), images[i], mask) for i in range(count)]
    return collate("s", 0, records, (1, 16, 16), 0)


def one_step(model: Model, task: Task) -> Pipeline:
    """Newton sampling of the task in one step."""
    return Pipeline(model, task, InexactNewton(step_sizes=[0.5]), steps=1)

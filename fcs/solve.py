"""One batch from noise to pictures: what the Lightning module and the Python calls share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fcs.errors import UsageError
from fcs.levels import Level, Spacing
from fcs.models.base import Model
from fcs.records import Batch, Result
from fcs.rows import RowNoise
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task


@dataclass(frozen=True)
class Solver:
    """Everything that a record's result depends on, besides the record and its seed.

    Attributes:
        model: the pretrained model.
        task: what is wanted of a record.
        sampler: how it is reached.
        steps: noise levels at which the network is asked.
        levels: their spacing.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.

    Raises:
        UsageError: a sampler that cannot work with the task's constraint.
    """

    model: Model
    task: Task
    sampler: Sampler
    steps: int = 20
    levels: Spacing = "even"
    guidance: float = 1.0
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if not issubclass(self.task.makes, self.sampler.needs):
            kind, task = self.sampler.needs.__name__, type(self.task).__name__.lower()
            name = type(self.sampler).__name__.lower()
            raise UsageError.of("sampler", name, f"a sampler for task={task}; this one needs a constraint {kind}")

    @torch.no_grad()
    def __call__(self, batch: Batch, watch: Callable[[], None] = lambda: None) -> Result:
        """Sample a batch.

        Args:
            batch: its pictures on the model's device.
            watch: called before each denoiser call; may raise to cut the batch short.
        """
        began = time.perf_counter()
        guided = self.model.guided(batch.prompts, self.negative_prompt, self.guidance)

        def denoise(x: Tensor, level: Level) -> Tensor:
            watch()
            return guided(x, level)

        constraint = self.task.constraint(batch, self.model)
        randn = RowNoise(batch.seeds, self.model.device)
        levels = self.model.schedule.levels(self.steps, self.levels)
        x = levels[0].sigma * randn(self.model.shape)
        x0 = self.sampler(x, levels, denoise, constraint, randn)
        residuals = constraint.residual(x0).cpu()
        pictures = self.task.pictures(x0, batch, self.model).cpu()
        seconds = (time.perf_counter() - began) / max(sum(batch.valid), 1)
        finite = tuple(x0.isfinite().flatten(1).all(1).tolist())
        calls = (guided.calls,) * len(batch.records)
        return Result(pictures, tuple(residuals.tolist()), calls, finite, seconds)

"""Whether settings fit the model, as far as its small files tell: said before weights are hashed and loaded.

The loaded model is asked the same again, since a checkpoint in one file says nothing beforehand.
"""

from __future__ import annotations

from typing import Any

import torch

from fcs.core.errors import UsageError
from fcs.engine.config.run import Run
from fcs.models import Found
from fcs.models.base import WINDOWED, Schedule
from fcs.models.family import Family, own_families
from fcs.tasks.pipeline import check_sampler

SCHEDULER = "scheduler/scheduler_config.json"
STEPS = 1000  # diffusers' own, where a scheduler does not say


def check_early(config: Run, found: Found) -> None:
    """Refuse what a model in such a folder cannot do.

    Raises:
        UsageError: steps or levels that its schedule does not have; guidance, or a sampler, for prompts that it does
            not take; a task that does not fit its pictures; a sampler that cannot work with the task's constraint;
            files that cannot be read; windows for a family that has none.
    """
    own = [] if found.is_file else own_families(found)  # of a file little is known before it is loaded
    prompted = all(kind.prompted for kind in own)
    asked = config.model.options
    shape = own[0].picture_shape_in(found, asked) if own and not asked.call else None
    config.task.check_fit(shape, prompted)
    if not found.is_file:
        _check_windows(config, own)
    check_sampler(config.sampler, config.task, prompted)
    check_guidance(config, prompted)
    if not found.is_file and (found.path / SCHEDULER).is_file():
        _outline(found.json(SCHEDULER)).levels(config.steps, config.levels)


def _check_windows(config: Run, own: list[type[Family]]) -> None:
    """Refuse windows where the family has none; what only a pipeline's own call does is done by a general one."""
    overlap, call = config.model.overlap, config.model.options.call
    if overlap is None:
        return
    if call:
        raise UsageError.of("model.overlap", overlap, f"null beside {', '.join(call)}: {WINDOWED}")
    if not any(kind.windowed for kind in own):
        raise UsageError.of("model.overlap", overlap, f"null: {WINDOWED}")


def check_guidance(config: Run, prompted: bool) -> None:
    """Refuse guidance where there are no prompts.

    Raises:
        UsageError: it was asked for.
    """
    if config.guidance != 1.0 and not prompted:
        raise UsageError.of("guidance", config.guidance, "1 for a model without prompts")


def _outline(scheduler: dict[str, Any]) -> Schedule:
    """A schedule with as many times as diffusers makes of this; what it adds at each is not known from here."""
    if str(scheduler.get("_class_name")).startswith("FlowMatch"):
        return Schedule(None)
    betas, steps = scheduler.get("trained_betas"), scheduler.get("num_train_timesteps", STEPS)
    count = len(betas) if isinstance(betas, list) else steps
    return Schedule(torch.linspace(0.99, 0.01, count) if isinstance(count, int) else None)

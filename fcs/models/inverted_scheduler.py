"""A pipeline's scheduler turned around: the pipeline answers one question a call, and never steps."""

from __future__ import annotations

import inspect
from copy import copy
from enum import Enum
from functools import wraps
from typing import Any

import torch

from fcs.core.levels import Level


class Question(Enum):
    """What a call of a pipeline is to find out."""

    START = "the latents that it would begin with"
    LEVELS = "the levels that it would visit"
    TAIL = "what its end makes of latents"
    STEPPED_TAIL = "the same after one step that leaves them as they are"
    OUTPUT = "the network's output at one level"


class Answer(Exception):
    """Leaves a pipeline's call from inside with what was asked for.

    Attributes:
        found: the answer.
    """

    def __init__(self, *found: Any) -> None:
        super().__init__("a pipeline's call was left with its answer")
        self.found = found


def inverted(scheduler: Any) -> Any:
    """A copy of a diffusers scheduler that asks instead of stepping; the original is left alone.

    Its class is below the original's, and its methods show the original's signatures, since pipelines look at both.

    Args:
        scheduler: any, with its configuration.

    Returns:
        A scheduler with two attributes more: ``question``, of the present call, and ``level``, at which the network is
        asked.
    """
    base = type(scheduler)

    @wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.question is Question.LEVELS:
            base.set_timesteps(self, *args, **kwargs)
            raise Answer(self.timesteps, getattr(self, "sigmas", None))
        # The type of t is the original's: some networks look up an integer, others scale a real one.
        kind = torch.float32 if self.timesteps.is_floating_point() else torch.int64
        asked = self.question in (Question.OUTPUT, Question.STEPPED_TAIL)
        device = kwargs.get("device") or (args[1] if len(args) > 1 else None)
        # Made on the device: a copy from the host at every call would wait for it.
        self.timesteps = torch.full((int(asked),), self.level.t, dtype=kind, device=device)
        self.sigmas = torch.tensor([self.level.sigma, 0.0] if asked else [0.0])
        self.num_inference_steps = len(self.timesteps)
        self._step_index = self._begin_index = None

    @wraps(base.step)
    def step(self: Any, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **kw: Any) -> Any:
        if self.question is Question.STEPPED_TAIL:
            return sample, sample
        raise Answer(model_output, sample)

    def scale_model_input(self: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return sample

    methods: dict[Any, Any] = {set_timesteps: base.set_timesteps, step: base.step}
    for method, own in methods.items():
        method.__signature__ = inspect.signature(own)  # looked at in each call, and slow to find out
    body = {
        "set_timesteps": set_timesteps,
        "step": step,
        "scale_model_input": scale_model_input,  # x is in the coordinates that the network sees
        "init_noise_sigma": 1.0,
        "question": Question.LEVELS,
        "level": Level(0.0, 1.0, 0.0),
    }
    made = copy(scheduler)
    made.__dict__.pop("init_noise_sigma", None)
    made.__class__ = type(f"Inverted{base.__name__}", (base,), body)
    return made

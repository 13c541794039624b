"""Settings that are allowed and known to break: a warning before the run, with the figure behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from fcs.core.autocast import AUTOCAST
from fcs.core.directions import Direction, Newton
from fcs.samplers.inexact_newton import InexactNewton

if TYPE_CHECKING:
    from fcs.engine.config.run import Run

# Below this largest entry of a perturbation its image drowns in the network's rounding. Measured on a digits model at
# t = 999: cosine to the true J e .90 in fp16 at 0.05, .75 in bf16 at 0.2.
ROUNDING = {"32": 0.0, "16": 0.05, "bf16": 0.2}
TF32 = 0.05  # as many bits as fp16
# Guided x_0 answers a move of x_t the more, the larger the scale, and moves of a fixed size overshoot: on emoji-64
# (K = 1, 20 levels) the residual is .07 at 1, .19 at 5, .50 at 12, 1.6 at 40; at 12 with guidance on the noisiest .4 of
# the levels only, .11. docs/settings.md has the pictures.
MOST_GUIDANCE, LEAST_UNGUIDED = 10.0, 0.5
# Levels times the sum of the step sizes is how far x_t can be moved in all. On emoji-64 the residual is .31 to 1.3 up
# to 2.5, .07 to .21 at 5 to 6, .09 at 10.
LEAST_TRAVEL = 4.0
log = logging.getLogger("fcs")


def warn(run: Run) -> None:
    """One warning for each setting that is beyond what was found to work."""
    for text in (_rounding(run), _tf32(run), _guidance(run), _travel(run)):
        if text:
            log.warning(text)


def warn_of_rounding(direction: Direction | None, autocast: torch.dtype | None) -> None:
    """The warning for a call from Python, whose difference is the paper's unless a sampler says otherwise."""
    least = next(ROUNDING[name] for name, kind in AUTOCAST.items() if kind is autocast)
    difference = _lost(direction, least)
    if difference is not None:
        log.warning(
            "a difference of %g is lost in the rounding of a network in 16 bits: pass a sampler with "
            'Newton("auto"), such as InexactNewton(Newton("auto"))', difference
        )  # fmt: skip


def _lost(direction: Direction | None, least: float) -> float | None:
    """A direction's finite difference if it is below what rounding leaves."""
    if not isinstance(direction, Newton) or direction.difference == "auto" or direction.difference >= least:
        return None
    return direction.difference


def _rounding(run: Run) -> str:
    key, least = f"trainer.precision={run.trainer.precision}", ROUNDING[run.trainer.precision]
    if run.trainer.tf32 and least < TF32:
        key, least = "trainer.tf32=true", TF32
    difference = _lost(run.sampler.direction, least)
    if difference is None:
        return ""
    return f"sampler.difference={difference:g} is lost in the rounding of {key}: take auto, or {least:g} or more"


def _tf32(run: Run) -> str:
    if not run.trainer.tf32 or not run.metrics.networks:
        return ""
    return "trainer.tf32=true has no effect: metrics by networks need every digit of float32, and torch has one switch"


def _guidance(run: Run) -> str:
    moved = isinstance(run.sampler, InexactNewton) and run.sampler.step_sizes
    if not moved or run.guidance <= MOST_GUIDANCE or run.guidance_stop <= LEAST_UNGUIDED:
        return ""
    return (
        f"guidance={run.guidance:g} to the last level keeps the constraint from being met: "
        f"take {MOST_GUIDANCE:g} or less, or guidance_stop=0.4"
    )


def _travel(run: Run) -> str:
    if not isinstance(run.sampler, InexactNewton) or not run.sampler.step_sizes:
        return ""
    travel = run.steps * sum(run.sampler.step_sizes)
    if travel >= LEAST_TRAVEL:
        return ""
    return (
        f"steps={run.steps} times sampler.step_sizes of {sum(run.sampler.step_sizes):g} in all move x_t by {travel:g} "
        f"at most: below {LEAST_TRAVEL:g} the constraint is not met; take more levels, or more or larger steps"
    )

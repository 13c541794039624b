"""Settings that are allowed and known to break: a warning before the run, with the figure behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fcs.core.autocast import AUTOCAST
from fcs.core.directions import Direction, Newton
from fcs.samplers.base import Sampler
from fcs.samplers.inexact_newton import InexactNewton
from fcs.tasks.pipeline import Pipeline

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
LOST = (
    "a difference of %g is lost in the rounding of a network in 16 bits: pass a sampler with "
    'Newton("auto"), such as InexactNewton(Newton("auto"))'
)
log = logging.getLogger("fcs")


def warn(run: Run) -> None:
    """One warning for each setting that is beyond what was found to work."""
    _say(_rounding(run), _tf32(run), _guidance(run.sampler, run.guidance, run.guidance_stop))
    _say(_travel(run.sampler, run.steps, "sampler.step_sizes"))


def warn_of_call(pipeline: Pipeline) -> None:
    """The same for a call from Python, with the names that its arguments have there."""
    sampler, autocast = pipeline.sampler, pipeline.model.denoiser.autocast
    lost = _lost(sampler.direction, next(ROUNDING[name] for name, kind in AUTOCAST.items() if kind is autocast))
    _say("" if lost is None else LOST % lost, _guidance(sampler, pipeline.guidance, pipeline.guidance_stop))
    _say(_travel(sampler, pipeline.steps, "step_sizes"))


def _say(*texts: str) -> None:
    for text in filter(None, texts):
        log.warning(text)


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


def _guidance(sampler: Sampler, guidance: float, guidance_stop: float) -> str:
    moved = isinstance(sampler, InexactNewton) and sampler.step_sizes
    if not moved or guidance <= MOST_GUIDANCE or guidance_stop <= LEAST_UNGUIDED:
        return ""
    return (
        f"guidance={guidance:g} to the last level keeps the constraint from being met: "
        f"take {MOST_GUIDANCE:g} or less, or guidance_stop=0.4"
    )


def _travel(sampler: Sampler, steps: int, name: str) -> str:
    if not isinstance(sampler, InexactNewton) or not sampler.step_sizes:
        return ""
    longest = sum(sampler.step_sizes)
    if steps * longest >= LEAST_TRAVEL:
        return ""
    return (
        f"steps={steps} times {name} of {longest:g} in all move x_t by {steps * longest:g} "
        f"at most: below {LEAST_TRAVEL:g} the constraint is not met; take more levels, or more or larger steps"
    )

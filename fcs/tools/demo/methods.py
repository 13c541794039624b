"""Methods of the page, each with as many noise levels as a number of denoiser calls allows."""

from __future__ import annotations

from collections.abc import Callable

from fcs.core.errors import UsageError
from fcs.samplers import DDIM, DPS, MPGD, InexactNewton, NewtonKrylov, ProjectedNewton, RePaint, Replacement
from fcs.samplers.base import Sampler
from fcs.samplers.inexact_newton import PAPER_STEP_SIZES

CALLS = (20, 40, 100, 220)
PAPER = "the paper's Newton"
OURS = "projected Newton"
STYLE_MOVES = (0, 1, 2, 2, 3, 3, 3, 3, 4, 4)  # a style is made late
MOST_LEVELS = 100

# For tasks with known pixels, for those with a measured picture, and for styles.
METHODS: dict[str, dict[str, Callable[[], Sampler]]] = {
    "known": {
        OURS: ProjectedNewton,
        "Newton-Krylov": NewtonKrylov,
        PAPER: InexactNewton,
        "replacement": Replacement,
        "RePaint": RePaint,
        "DPS": DPS,
        "MPGD": MPGD,
        "no constraint": DDIM,
    },
    "measured": {
        OURS: lambda: ProjectedNewton(moves=[0], eta=0),
        PAPER: lambda: InexactNewton(step_sizes=[0.1] * 10),
        "DPS": DPS,
        "MPGD": MPGD,
        "no constraint": DDIM,
    },
    "style": {
        OURS: lambda: ProjectedNewton(moves=STYLE_MOVES, last=0.05, growth=(1.0, 1.0), project=False, order=1, eta=0),
        PAPER: lambda: InexactNewton(step_sizes=PAPER_STEP_SIZES),
        "DPS": DPS,
        "MPGD": MPGD,
        "no constraint": DDIM,
    },
}


def names() -> list[str]:
    """All methods, those that know pixels among them."""
    return list(METHODS["known"])


def method(kind: str, name: str) -> Sampler:
    """A method for a kind of task.

    Raises:
        UsageError: there is none for it.
    """
    if name not in METHODS[kind]:
        raise UsageError.of("method", name, f"one of {', '.join(METHODS[kind])} for this task")
    return METHODS[kind][name]()


def levels_within(sampler: Sampler, calls: int) -> int:
    """The most noise levels that take no more than ``calls`` denoiser calls, at least 1."""
    return max((steps for steps in range(1, MOST_LEVELS + 1) if sampler.calls(steps) <= calls), default=1)

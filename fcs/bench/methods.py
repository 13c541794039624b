"""The methods that are compared: published settings, what may be tuned, and what a budget of calls buys."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fcs.core.directions import Direction, Exact, Gradient, Local, Newton
from fcs.engine.config.schema import known_as
from fcs.models import Model
from fcs.samplers.base import Sampler
from fcs.samplers.ddim import DDIM
from fcs.samplers.ding import DING
from fcs.samplers.dps import DPS, LDPS
from fcs.samplers.freedom import FreeDoM
from fcs.samplers.inexact_newton import InexactNewton as Loop
from fcs.samplers.inexact_newton import falling
from fcs.samplers.latino import LATINO
from fcs.samplers.mmps import MMPS
from fcs.samplers.mpgd import MPGD
from fcs.samplers.p2l import P2L
from fcs.samplers.projected_newton import ProjectedNewton
from fcs.samplers.psld import PSLD
from fcs.samplers.repaint import RePaint
from fcs.samplers.replacement import Replacement
from fcs.tasks.base import Task

Setting = dict[str, float]
MOST_LEVELS = 1000  # as many as a diffusion was trained on
TINY = 256  # entries of x_t up to which the exact direction is made
DIRECTIONS: dict[str, type[Direction]] = {"newton": Newton, "gradient": Gradient, "local": Local, "exact": Exact}
OF_DIRECTION = ("difference", "cutoff")  # arguments of the direction, on which no cost depends
LOOP = ("moves", "size", "last")  # they make step_sizes


@dataclass(frozen=True)
class Axis:
    """A number to tune, between two bounds; whole numbers include both."""

    name: str
    low: float
    high: float
    scale: Literal["log", "linear", "whole"] = "log"

    def at(self, share: float) -> float:
        """The value at a share, 0 to 1, of the way from the lower bound to the upper."""
        if self.scale == "log":
            return float(f"{self.low * (self.high / self.low) ** share:.4g}")
        if self.scale == "linear":
            return round(self.low + share * (self.high - self.low), 4)
        return min(int(self.low + share * (self.high - self.low + 1)), int(self.high))


@dataclass(frozen=True)
class Method:
    """A sampler with its settings.

    Attributes:
        name: in tables.
        kind: the sampler.
        levels: the published number.
        published: the published setting for a number of levels, for superresolution or not.
        space: what may be tuned.
        direction: of samplers that take one.
        latent: the sampler's name on a latent model, where papers give it another.
        tuned: whether it walks another model, that was tuned for inpainting.
        consistency: whether it is for consistency models alone.
    """

    name: str
    kind: type[Sampler]
    levels: int
    published: Callable[[int, bool], Setting]
    space: tuple[Axis, ...] = ()
    direction: str | None = None
    latent: type[Sampler] | None = None
    tuned: bool = False
    consistency: bool = False

    def setting(self, shares: list[float], levels: int, large: bool) -> Setting:
        """The published setting with what is tuned at the given shares of its axes."""
        own = {axis.name: axis.at(share) for axis, share in zip(self.space, shares, strict=True)}
        return {**self.published(levels, large), **own}

    def sampler(self, setting: Setting) -> Sampler:
        """The sampler itself."""
        given = {key: value for key, value in arguments(setting).items() if key not in OF_DIRECTION}
        if self.direction is not None:
            given["direction"] = DIRECTIONS[self.direction]()
        return self.kind(**given)

    def section(self, setting: Setting, latent: bool = False) -> dict[str, Any]:
        """The same as a config says it; ``latent`` for a latent model."""
        kind = self.latent if latent and self.latent is not None else self.kind
        given = arguments(setting)
        inner = {key: given.pop(key) for key in OF_DIRECTION if key in given}
        direction = {} if self.direction is None else {"direction": {"class_path": self.direction, **inner}}
        return {"class_path": known_as(kind).lower(), **direction, **given}

    def overrides(self, setting: Setting, latent: bool = False) -> list[str]:
        """The same for fcs-predict."""
        return dotted("sampler", self.section(setting, latent))

    def cost(self, setting: Setting, levels: int) -> int:
        """Denoiser calls for one record, a backward counted as two."""
        sampler = self.sampler(setting)
        return sampler.calls(levels) + 2 * sampler.backwards(levels)

    def levels_for(self, budget: int, make: Callable[[int], Setting]) -> int | None:
        """The most levels that a budget of calls buys under the setting ``make(levels)``; None if not even one."""
        affordable = (n for n in range(min(budget, MOST_LEVELS), 0, -1) if self.cost(make(n), n) <= budget)
        return next(affordable, None)

    def unfit(self, model: Model, task: Task) -> str | None:
        """Why it cannot do a task with a model, or None where it can."""
        if self.kind.prompted and not model.prompted:
            return "needs a model with prompts"
        needs = self.sampler(self.published(self.levels, False)).needs
        if not issubclass(task.makes, needs):
            return f"needs a constraint {needs.__name__}"
        if self.tuned and not task.needs_mask:
            return "is for inpainting"
        if self.consistency and not model.schedule.consistency:
            return "needs a consistency model (diffusers' LCMScheduler)"
        if self.direction == "exact" and math.prod(model.shape) > TINY:
            return "builds the Jacobian: for tiny models only"
        return None


def arguments(setting: Setting) -> dict[str, Any]:
    """A setting as the sampler's arguments: K moves whose size falls linearly to a share ``last`` of the first."""
    given: dict[str, Any] = {key: value for key, value in setting.items() if key not in LOOP}
    if "moves" in setting:
        size, last = setting["size"], setting["last"]
        given["step_sizes"] = [round(one, 4) for one in falling(size, size * last, int(setting["moves"]))]
    return given


def dotted(key: str, section: dict[str, Any]) -> list[str]:
    """A section that chooses a class, as ``key=value`` of the command line."""
    found = [f"{key}={section['class_path']}"]
    for name, value in section.items():
        if isinstance(value, dict):
            found += dotted(f"{key}.{name}", value)
        elif name != "class_path":
            found.append(f"{key}.{name}={value}")
    return found


def loop(moves: int) -> Callable[[int, bool], Setting]:
    """The paper's step sizes: .5 falling to .1, and for superresolution .1 throughout."""
    return lambda levels, large: {"moves": moves, "size": 0.1 if large else 0.5, "last": 1.0 if large else 0.2}


def nothing(levels: int, large: bool) -> Setting:
    """The sampler's own defaults, which are the published ones."""
    return {}


def dps(levels: int, large: bool) -> Setting:
    """Published (configs of its repository) are 0.5 for inpainting, the default, and 0.3 for superresolution."""
    return {"step_size": 0.3} if large else {}


def mmps(levels: int, large: bool) -> Setting:
    """One iteration or five, at 10, 100 and 1000 levels in the authors' benchmark; their example is five at 100."""
    return {"iterations": 5 if levels >= 100 else 1}


def mpgd(levels: int, large: bool) -> Setting:
    """Published for superresolution to 256 pixels (scripts of its repository), between and beyond as 1 / levels."""
    known = {20: 17.5, 50: 7.5, 100: 4.0}
    return {"step_size": known.get(levels, round(375 / levels, 3))}


def repaint(levels: int, large: bool) -> Setting:
    """Jumps of 10 in 250 levels, and as much shorter as the walk is."""
    return {"jump": max(1, round(levels / 25)), "passes": 10}


SIZES = (Axis("size", 0.05, 2), Axis("last", 0.1, 1, "linear"))
PROJECTED = (Axis("first", 0.1, 2), Axis("last", 0.05, 1))
ETA = Axis("eta", 0, 1, "linear")
STEP = Axis("step_size", 0.02, 20)
MOVES = Axis("moves", 1, 5, "whole")
KRYLOV = (Axis("noise", 0.002, 0.5), Axis("iterations", 1, 4, "whole"))

METHODS = {
    method.name: method
    for method in (
        Method("newton-k1", Loop, 20, loop(1), (SIZES[0], Axis("difference", 5e-4, 0.5)), "newton"),
        Method("newton-k2", Loop, 20, loop(2), SIZES, "newton"),
        Method("newton-k5", Loop, 20, loop(5), SIZES, "newton"),
        Method("newton-k10", Loop, 20, loop(10), SIZES, "newton"),  # the paper's K for superresolution
        Method("projected", ProjectedNewton, 10, nothing, PROJECTED, "newton"),
        Method("exact", Loop, 20, loop(1), (SIZES[0], Axis("cutoff", 0.01, 0.9)), "exact"),
        Method("gradient", Loop, 20, loop(5), (MOVES, *SIZES), "gradient"),
        Method("local", Loop, 20, loop(5), (MOVES, *SIZES), "local"),
        Method("ddim", DDIM, 20, nothing),
        Method("replacement", Replacement, 20, nothing),
        Method("dps", DPS, 1000, dps, (STEP, ETA), latent=LDPS),
        Method("psld", PSLD, 1000, nothing, (Axis("omega", 0.02, 20), Axis("gamma", 0.002, 2), ETA)),
        Method("freedom", FreeDoM, 100, nothing, (STEP, Axis("repeats", 1, 4, "whole"), ETA)),
        Method("mpgd", MPGD, 100, mpgd, (STEP, ETA)),
        Method("p2l", P2L, 1000, nothing, (STEP, Axis("rate", 1e-5, 0.1), Axis("tunings", 0, 3, "whole"))),
        Method("mmps", MMPS, 100, mmps, KRYLOV, "gradient"),
        Method("mmps-newton", MMPS, 100, mmps, KRYLOV, "newton"),
        Method("ding", DING, 28, nothing, (Axis("noise", 0.001, 1),)),
        Method("repaint", RePaint, 250, repaint, (Axis("jump", 1, 10, "whole"), Axis("passes", 1, 10, "whole"), ETA)),
        Method("latino", LATINO, 8, nothing, (Axis("noise", 0.002, 0.5), Axis("late", 0.05, 2)), consistency=True),
        Method("sd-inpaint", DDIM, 50, nothing, tuned=True),  # the upper anchor
    )
}

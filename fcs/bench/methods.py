"""The methods that are compared: published settings, what may be tuned, and what a budget of calls buys."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

from fcs.core.errors import UsageError

if TYPE_CHECKING:  # --help lists the methods and should not wait for torch
    from fcs.models import Model
    from fcs.samplers.base import Sampler
    from fcs.tasks.base import Task

Setting = dict[str, float]
MOST_LEVELS = 1000  # as many as a diffusion was trained on
TINY = 256  # entries of x_t up to which the exact direction is formed
OF_DIRECTION = ("difference", "cutoff")  # arguments of the direction, on which no cost depends
STEP_SIZES = ("moves", "size", "last")  # they make step_sizes
PLAIN = (bool, int, float, str, list, tuple)  # what key=value can say, beside null
EACH = "products_each"  # it makes products


@dataclass(frozen=True)
class Axis:
    """A number to tune, between two bounds where its best is expected; whole numbers include both.

    Attributes:
        name: of the argument.
        low: the lower bound.
        high: the upper bound.
        scale: how it goes from one to the other. A search may leave the range of ``log`` at both ends and that of
            ``whole`` at the upper one.
        closed: whether nothing beyond the bounds is a setting.
        inpainting: whether it means something for inpainting alone.
    """

    name: str
    low: float
    high: float
    scale: Literal["log", "linear", "whole"] = "log"
    closed: bool = False
    inpainting: bool = False

    @property
    def open(self) -> tuple[bool, bool]:
        """Whether a search may go on below the lower bound and above the upper."""
        return self.scale == "log" and not self.closed, self.scale != "linear" and not self.closed

    def at(self, share: float) -> float:
        """The value at a share, 0 to 1 within the bounds, of the way from the lower bound to the upper."""
        if self.scale == "log":
            return float(f"{self.low * (self.high / self.low) ** share:.4g}")
        if self.scale == "linear":
            return round(self.low + share * (self.high - self.low), 4)
        value = int(self.low + share * (self.high - self.low + 1))
        return min(value, int(self.high)) if share <= 1 else value

    def share(self, value: float) -> float:
        """The share at which a value lies; outside 0 to 1 for one beyond an open end only."""
        if self.scale == "log":
            found = math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else 0.0
        elif self.scale == "linear":
            found = (value - self.low) / (self.high - self.low)
        else:
            found = (value - self.low + 0.5) / (self.high - self.low + 1)
        below, above = self.open
        return round(min(max(found, -math.inf if below else 0.0), math.inf if above else 1.0), 6)


@dataclass(frozen=True)
class Method:
    """A sampler with its settings.

    Attributes:
        name: in tables.
        sampler: its short name in a configuration, or its class path.
        levels: the published number.
        published: the published setting for a number of levels, for superresolution or not.
        space: what may be tuned.
        direction: of samplers that take one.
        latent: the sampler's name on a latent model, where papers give it another.
        of_pixels: arguments that are published as true for models of pixels, and only for those.
        inpainting_model: whether it samples another model, one that was trained for inpainting.
        consistency: whether it is for consistency models alone.
    """

    name: str
    sampler: str
    levels: int
    published: Callable[[int, bool], Setting]
    space: tuple[Axis, ...] = ()
    direction: str | None = None
    latent: str | None = None
    of_pixels: tuple[str, ...] = ()
    inpainting_model: bool = False
    consistency: bool = False

    def within(self, inpaints: bool) -> Method:
        """The same with what may be tuned for inpainting, or for another task."""
        return replace(self, space=axes_of(self.space, inpaints))

    def setting(self, shares: list[float], levels: int, superres: bool) -> Setting:
        """The published setting with what is tuned at the given shares of its axes."""
        own = {axis.name: axis.at(share) for axis, share in zip(self.space, shares, strict=True)}
        return {**self.published(levels, superres), **own}

    def point(self, setting: Setting) -> list[float] | None:
        """Where a setting lies on the axes, as shares; None where the sampler does not say all of its numbers."""
        sampler = self.build(setting)
        values = [setting.get(axis.name, getattr(sampler, axis.name, None)) for axis in self.space]
        if any(value is None for value in values):
            return None
        return [axis.share(float(value)) for axis, value in zip(self.space, values, strict=True) if value is not None]

    def build(self, setting: Setting) -> Sampler:
        """The sampler itself, for its costs."""
        given = {key: value for key, value in arguments(setting).items() if key not in OF_DIRECTION}
        if self.direction is not None:
            given["direction"] = imported("sampler.direction", self.direction)()
        made: Sampler = imported("sampler", self.sampler)(**given)
        return made

    def section(self, setting: Setting, latent: bool = False) -> dict[str, Any]:
        """The same as a config says it; ``latent`` for a latent model."""
        given = arguments(setting) | dict.fromkeys(() if latent else self.of_pixels, True)
        inner = {key: given.pop(key) for key in OF_DIRECTION if key in given}
        direction = {} if self.direction is None else {"direction": {"class_path": self.direction, **inner}}
        return {"class_path": self._sampler(latent), **direction, **given}

    def overrides(self, setting: Setting, latent: bool = False) -> list[str]:
        """The same for fcs-predict."""
        return dotted("sampler", self.section(setting, latent))

    def own_defaults(self, latent: bool = False) -> list[str]:
        """What ``own_defaults`` says of its sampler."""
        return own_defaults(self._sampler(latent))

    def _sampler(self, latent: bool) -> str:
        return (latent and self.latent) or self.sampler

    def cost(self, setting: Setting, levels: int) -> int:
        """Denoiser calls for one record, a backward counted as two."""
        sampler = self.build(setting)
        return sampler.calls(levels) + 2 * sampler.backwards(levels)

    def levels_for(self, budget: int, make: Callable[[int], Setting]) -> int | None:
        """The most levels that a budget of calls buys under the setting ``make(levels)``; None if not even one."""
        affordable = (n for n in range(min(budget, MOST_LEVELS), 0, -1) if self.cost(make(n), n) <= budget)
        return next(affordable, None)

    def unfit(self, model: Model, task: Task) -> str | None:
        """Why it cannot do a task with a model, or None where it can."""
        sampler = self.build(self.published(self.levels, False))
        if sampler.prompted and not model.prompted:
            return "needs a model with prompts"
        if not issubclass(task.makes, sampler.needs):
            return f"needs a constraint {sampler.needs.__name__}"
        if self.inpainting_model and not task.needs_mask:
            return "is for inpainting"
        if self.consistency and not model.schedule.consistency:
            return "needs a consistency model (diffusers' LCMScheduler)"
        if self.direction == "exact" and math.prod(model.shape) > TINY:
            return "forms the Jacobian: for tiny models only"
        return None


def axes_of(space: tuple[Axis, ...], inpaints: bool) -> tuple[Axis, ...]:
    """The axes that mean something for inpainting, or for another task."""
    return tuple(axis for axis in space if inpaints or not axis.inpainting)


@cache
def imported(where: str, name: str) -> Any:
    """The class that a section of a configuration means by a short name or a class path."""
    from fcs.engine.config.class_names import shipped

    module, _, own = name.rpartition(".")
    return getattr(import_module(module), own) if module else shipped(where)[name]


def chosen_methods(text: str) -> list[Method]:
    """The methods of a list: names, class paths of samplers, or all.

    A class path is a sampler of anybody's, with its own defaults at 20 levels unless a budget says otherwise.

    Raises:
        UsageError: a name that is none, with the nearest; a class path that cannot be imported or is no sampler.
    """
    names = list(METHODS) if text == "all" else text.split(",")
    return [own_method(name) if "." in name else known_method(name) for name in names]


def known_method(name: str) -> Method:
    """One of ``METHODS``."""
    if name not in METHODS:
        raise UsageError.of("--methods", name, f"all, a class path, or of {', '.join(METHODS)}", METHODS)
    return METHODS[name]


def own_method(path: str) -> Method:
    """A sampler by its class path; what cannot be a sampler is refused as in a configuration."""
    from fcs.engine.config import load_config

    load_config.load(["digits_half"], [f"sampler={path}"])
    return Method(path, path, 20, defaults)


def arguments(setting: Setting) -> dict[str, Any]:
    """A setting as the sampler's arguments: K moves whose size falls linearly to a share ``last`` of the first.

    As many products at each level, where the sampler's own argument is not there.
    """
    falls = "size" in setting  # else moves is an argument of the sampler itself
    made = (*(STEP_SIZES if falls else ()), EACH)
    given: dict[str, Any] = {key: value for key, value in setting.items() if key not in made}
    if EACH in setting:
        given = {"products": [int(setting[EACH])], **given}
    if falls:
        from fcs.samplers.inexact_newton import falling

        size, last = setting["size"], setting["last"]
        given["step_sizes"] = [round(one, 4) for one in falling(size, size * last, int(setting["moves"]))]
    return given


def _typed(value: Any) -> str:
    """A value as the command line takes it."""
    return "null" if value is None else str(list(value) if isinstance(value, tuple) else value)


def own_defaults(sampler: str) -> list[str]:
    """A sampler's defaults for fcs-predict, so that a config with the same sampler lends it none of its own.

    Those that a command line can say: not a direction, nor an object of a sampler of anybody's.

    Args:
        sampler: its short name in a configuration, or its class path.
    """
    parameters = signature(imported("sampler", sampler)).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.name != "direction"}
    section = {name: value for name, value in defaults.items() if value is None or isinstance(value, PLAIN)}
    return dotted("sampler", {"class_path": sampler, **section})


def dotted(key: str, section: dict[str, Any]) -> list[str]:
    """A section that chooses a class, as ``key=value`` of the command line."""
    found = [f"{key}={section['class_path']}"]
    for name, value in section.items():
        if isinstance(value, dict):
            found += dotted(f"{key}.{name}", value)
        elif name != "class_path":
            found.append(f"{key}.{name}={_typed(value)}")
    return found


def newton(moves: int) -> Callable[[int, bool], Setting]:
    """The paper's step sizes: .5 falling to .1, and for superresolution .1 throughout."""
    return lambda levels, superres: {"moves": moves, "size": 0.1 if superres else 0.5, "last": 1.0 if superres else 0.2}


def defaults(levels: int, superres: bool) -> Setting:
    """The sampler's own defaults, which are the published ones."""
    return {}


def krylov(levels: int, superres: bool) -> Setting:
    """One product at each level."""
    return {EACH: 1}


def dps(levels: int, superres: bool) -> Setting:
    """Published (configs of its repository) are 0.5 for inpainting, the default, and 0.3 for superresolution."""
    return {"step_size": 0.3} if superres else {}


def mmps(levels: int, superres: bool) -> Setting:
    """One iteration or five, at 10, 100 and 1000 levels in the authors' benchmark; their example is five at 100."""
    return {"iterations": 5 if levels >= 100 else 1}


def mpgd(levels: int, superres: bool) -> Setting:
    """Published for superresolution to 256 pixels (scripts of its repository), between and beyond as 1 / levels."""
    known = {20: 17.5, 50: 7.5, 100: 4.0}
    return {"step_size": known.get(levels, round(375 / levels, 3))}


def repaint(levels: int, superres: bool) -> Setting:
    """Jumps of 10 in 250 levels, and as much shorter as there are fewer levels."""
    return {"jump": max(1, round(levels / 25)), "passes": 10}


def fmrg_j(levels: int, superres: bool) -> Setting:
    """Published (an example in its code): one move through the network at each of 30 levels."""
    return {"step_size": 5.0, "moves": 1, "jacobian": True}


SIZES = (Axis("size", 0.05, 2), Axis("last", 0.1, 1, "linear"))
ETA = Axis("eta", 0, 1, "linear")
DRAWS = Axis("prior_variance", 0.05, 5, inpainting=True)
PROJECTED = (Axis("first", 0.1, 2), Axis("last", 0.05, 1), ETA, DRAWS)
STEP = Axis("step_size", 0.02, 20)
MOVES = Axis("moves", 1, 5, "whole")
MATCHING = (Axis("noise", 0.002, 0.5), Axis("iterations", 1, 4, "whole"), ETA)
FMRG = (STEP, MOVES)
KRYLOV = (Axis(EACH, 0, 4, "whole"), Axis("follow", 0, 1.5, "linear"), Axis("push", 0.02, 3), ETA, DRAWS)

METHODS = {
    method.name: method
    for method in (
        Method("newton-k1", "newton", 20, newton(1), (SIZES[0], Axis("difference", 5e-4, 0.5)), "newton"),
        Method("newton-k2", "newton", 20, newton(2), SIZES, "newton"),
        Method("newton-k5", "newton", 20, newton(5), SIZES, "newton"),
        Method("newton-k10", "newton", 20, newton(10), SIZES, "newton"),  # the paper's K for superresolution
        Method("projected", "projectednewton", 10, defaults, PROJECTED, "newton"),
        Method("krylov", "newtonkrylov", 10, krylov, KRYLOV, "newton"),
        Method("exact", "newton", 20, newton(1), (SIZES[0], Axis("cutoff", 0.01, 0.9, closed=True)), "exact"),
        Method("gradient", "newton", 20, newton(5), (MOVES, *SIZES), "gradient"),
        Method("local", "newton", 20, newton(5), (MOVES, *SIZES), "local"),
        Method("ddim", "ddim", 20, defaults),
        Method("replacement", "replacement", 20, defaults),
        Method("dps", "dps", 1000, dps, (STEP, ETA), latent="ldps", of_pixels=("clip",)),
        Method("psld", "psld", 1000, defaults, (Axis("omega", 0.02, 20), Axis("gamma", 0.002, 2), ETA)),
        Method("freedom", "freedom", 100, defaults, (STEP, Axis("repeats", 1, 4, "whole"), ETA)),
        Method("mpgd", "mpgd", 100, mpgd, (STEP, ETA), of_pixels=("clip",)),
        Method("p2l", "p2l", 1000, defaults, (STEP, Axis("rate", 1e-5, 0.1), Axis("tunings", 0, 3, "whole"))),
        Method("mmps", "mmps", 100, mmps, MATCHING, "gradient"),
        Method("mmps-newton", "mmps", 100, mmps, MATCHING, "newton"),
        Method("ding", "ding", 28, defaults, (Axis("noise", 0.001, 1),)),
        Method("repaint", "repaint", 250, repaint, (Axis("jump", 1, 10, "whole"), Axis("passes", 1, 10, "whole"), ETA)),
        Method("latino", "latino", 8, defaults, (Axis("noise", 0.002, 0.5), Axis("late", 0.05, 2)), consistency=True),
        Method("fmrg", "fmrg", 15, defaults, FMRG, consistency=True),
        Method("fmrg-j", "fmrg", 30, fmrg_j, FMRG, consistency=True),
        Method("sd-inpaint", "ddim", 50, defaults, inpainting_model=True),  # the upper anchor
    )
}

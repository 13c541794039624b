"""What may be fitted of a sampler for a budget of calls: points of the unit cube as its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fcs.bench.methods import DRAWS, Axis, axes_of
from fcs.core.directions import Newton
from fcs.samplers.newton_krylov import NewtonKrylov
from fcs.samplers.projected_newton import ProjectedNewton

FEWEST = 3  # levels
# Where calls beyond one a level go: how many of them, and to which levels.
PROFILE = (
    Axis("share", 0.0, 1.0, "linear"),  # of the moves or products that the budget could pay for
    Axis("begin", 0.0, 0.4, "linear"),  # share of the levels before the first
    Axis("end", 0.5, 1.0, "linear"),  # share of the levels after which there are none
)
DIFFERENCE = Axis("difference", 0.002, 0.1)


@dataclass(frozen=True)
class Fitted:
    """A setting of a sampler with the number of levels.

    Attributes:
        steps: levels.
        sampler: its section in a configuration.
        calls: denoiser calls a record.
    """

    steps: int
    sampler: dict[str, Any]
    calls: int


@dataclass(frozen=True)
class Space:
    """The settings of one sampler that a budget of calls can have.

    Attributes:
        sampler: its class path.
        title: what a person calls it.
        profile: the argument that says what is done at each level.
        price: denoiser calls of one move or product.
        fewest: moves or products in all.
        defaults: the sampler as it comes.
        given: arguments that are fitted, as ranges.
        pair: an argument of two numbers and the axes that they come from; None for none.
    """

    sampler: str
    title: str
    profile: str
    price: int
    fewest: int
    defaults: ProjectedNewton | NewtonKrylov
    given: tuple[Axis, ...]
    pair: tuple[str, str, str] | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        """All axes: the profile's, then the arguments'."""
        return (*PROFILE, *self.given, DIFFERENCE)

    def within(self, inpaints: bool) -> Space:
        """The same with what may be fitted for inpainting, or for another task."""
        return replace(self, given=axes_of(self.given, inpaints))

    @property
    def least(self) -> int:
        """The smallest budget."""
        return FEWEST + self.price

    def default(self, calls: int) -> Fitted:
        """The sampler's defaults, with as many levels as the calls pay for; what is too much is taken from the end."""
        steps = max(n for n in range(1, calls + 1) if n == 1 or self.defaults.calls(n) <= calls)
        profile = self.defaults.plan(steps)
        while steps + self.price * sum(profile) > calls and any(profile):
            profile[max(i for i, count in enumerate(profile) if count)] -= 1
        pair = self.pair or ("", "", "")
        names = [axis.name for axis in self.given if axis.name not in pair[1:]]
        arguments = {name: getattr(self.defaults, name) for name in names}
        if self.pair:
            arguments[pair[0]] = list(getattr(self.defaults, pair[0]))
        return self._fitted(profile, {**arguments, "difference": Newton().difference})

    def at(self, point: Sequence[float], calls: int) -> Fitted:
        """The setting at a point of the unit cube, one number from 0 to 1 an axis.

        Args:
            point: one number an axis.
            calls: the budget; exactly used.

        Raises:
            ValueError: a budget below ``least``.
        """
        if calls < self.least:
            raise ValueError(f"calls={calls}: expected {self.least} or more")
        value: dict[str, Any] = {axis.name: axis.at(share) for axis, share in zip(self.axes, point, strict=True)}
        most = (calls - FEWEST) // self.price
        count = min(self.fewest + int(value.pop("share") * (most + 1 - self.fewest)), most)
        profile = spread(count, calls - self.price * count, value.pop("begin"), value.pop("end"))
        if self.pair:
            name, first, last = self.pair
            value[name] = [value.pop(first), value.pop(last)]
        return self._fitted(profile, value)

    def _fitted(self, profile: list[int], value: dict[str, Any]) -> Fitted:
        direction = {"class_path": "newton", "difference": value.pop("difference")}
        section = {"class_path": self.sampler, "direction": direction, self.profile: profile, **value}
        return Fitted(len(profile), section, len(profile) + self.price * sum(profile))


# Written down before anything was fitted.
SPACES = {
    "projected": Space(
        "projectednewton",
        "Projected Newton",
        "moves",
        1 + Newton().forwards,  # its direction, and x_0 at the moved point
        1,
        ProjectedNewton(),
        (
            Axis("first", 0.1, 2.0),
            Axis("last", 0.05, 1.0),
            Axis("start", 0.1, 2.0),  # growth, at the first level
            Axis("stop", 0.5, 6.0),  # and at the last
            Axis("memory", 0, 8, "whole"),
            Axis("eta", 0.0, 1.0, "linear"),
            DRAWS,
        ),
        ("growth", "start", "stop"),
    ),
    "krylov": Space(
        "newtonkrylov",
        "Newton-Krylov",
        "products",
        Newton().forwards,
        0,  # levels of one call, where x_t is pushed
        NewtonKrylov(),
        (
            Axis("follow", 0.0, 1.5, "linear"),
            Axis("push", 0.02, 3.0),
            Axis("ridge", 0.001, 0.1),
            Axis("memory", 0, 12, "whole"),
            Axis("eta", 0.0, 1.0, "linear"),
            DRAWS,
        ),
    ),
}


def spread(count: int, steps: int, begin: float, end: float) -> list[int]:
    """``count`` moves or products over ``steps`` levels, as evenly as can be between two shares of them."""
    first = min(int(begin * steps), steps - 1)
    stop = max(first + 1, round(end * steps))
    profile = [0] * steps
    for number in range(count):
        profile[first + int((number + 0.5) * (stop - first) / count)] += 1
    return profile

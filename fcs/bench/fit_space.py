"""What may be fitted of projected Newton for a budget of calls: points of the unit cube as its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fcs.bench.methods import Axis
from fcs.core.directions import Newton
from fcs.samplers.projected_newton import ProjectedNewton

FEWEST = 3  # levels
MOVE = 1 + Newton().forwards  # calls of a move: its direction's, and at the moved point
# Where the moves are, then the arguments that are handed on. Written down before anything was fitted.
AXES = (
    Axis("share", 0.0, 1.0, "linear"),  # of the moves that the budget could pay for
    Axis("begin", 0.0, 0.4, "linear"),  # share of the levels before the first move
    Axis("end", 0.5, 1.0, "linear"),  # share of the levels after which there are none
    Axis("first", 0.1, 2.0),
    Axis("last", 0.05, 1.0),
    Axis("start", 0.1, 2.0),  # growth, at the first level
    Axis("stop", 0.5, 6.0),  # and at the last
    Axis("memory", 0, 8, "whole"),
    Axis("eta", 0.0, 1.0, "linear"),
    Axis("difference", 0.002, 0.1),
)


@dataclass(frozen=True)
class Fitted:
    """A setting of projected Newton with the number of levels.

    Attributes:
        steps: levels.
        sampler: its section in a configuration.
    """

    steps: int
    sampler: dict[str, Any]

    @property
    def calls(self) -> int:
        """Denoiser calls a record."""
        return self.steps + MOVE * sum(self.sampler["moves"])


def default(calls: int) -> Fitted:
    """The sampler's own defaults, with as many levels as the calls pay for; moves are taken away from the end."""
    sampler = ProjectedNewton()
    steps = max(n for n in range(1, calls + 1) if n == 1 or sampler.calls(n) <= calls)
    moves = sampler.plan(steps)
    while steps + MOVE * sum(moves) > calls and any(moves):
        moves[max(i for i, count in enumerate(moves) if count)] -= 1
    arguments = {name: getattr(sampler, name) for name in ("first", "last", "memory", "eta")}
    return _fitted(moves, {**arguments, "growth": list(sampler.growth), "difference": Newton().difference})


def at(point: Sequence[float], calls: int) -> Fitted:
    """The setting at a point of the unit cube, ``len(AXES)`` numbers from 0 to 1.

    Args:
        point: one number an axis.
        calls: the budget; exactly used, but for one call where the parity does not allow it.

    Raises:
        ValueError: a budget below ``FEWEST`` levels and a move.
    """
    if calls < FEWEST + MOVE:
        raise ValueError(f"calls={calls}: expected {FEWEST + MOVE} or more")
    value: dict[str, Any] = {axis.name: axis.at(share) for axis, share in zip(AXES, point, strict=True)}
    most = (calls - FEWEST) // MOVE
    count = min(1 + int(value.pop("share") * most), most)
    moves = spread(count, calls - MOVE * count, value.pop("begin"), value.pop("end"))
    value["growth"] = [value.pop("start"), value.pop("stop")]
    return _fitted(moves, value)


def spread(count: int, steps: int, begin: float, end: float) -> list[int]:
    """``count`` moves over ``steps`` levels, as evenly as can be between two shares of them."""
    first = min(int(begin * steps), steps - 1)
    stop = max(first + 1, round(end * steps))
    moves = [0] * steps
    for number in range(count):
        moves[first + int((number + 0.5) * (stop - first) / count)] += 1
    return moves


def _fitted(moves: list[int], value: dict[str, Any]) -> Fitted:
    direction = {"class_path": "newton", "difference": value.pop("difference")}
    return Fitted(len(moves), {"class_path": "projectednewton", "direction": direction, "moves": moves, **value})

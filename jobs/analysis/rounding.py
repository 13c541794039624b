"""How far a difference in 16 bits is from J e: measured where a run comes by, with the errors that it has there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.arithmetic import FORWARD_MODE, Arithmetic, Cast, swapped
from analysis.spectra import DIFFERENCES
from fcs.core.directions import Direction, Function, LinearMap, Newton
from fcs.core.errors import first_line
from fcs.core.levels import Level
from fcs.core.per_sample import max_norm
from fcs.models import Model

Way = float | str  # delta, or auto
Row = dict[str, Any]
ONE = {"mean": 1.0, "least": 1.0}


@dataclass(frozen=True)
class Place:
    """Where a direction is asked for.

    Attributes:
        f: ``x_t -> x_0`` under whatever the model runs.
        x: ``(N, *)``.
        e: errors ``(N, *)``.
        level: the noise level.
        moves: how many were made at this level before.
    """

    f: Function
    x: Tensor
    e: Tensor
    level: Level
    moves: int

    def along(self, direction: Direction) -> Tensor:
        """The direction for the errors."""
        return direction.linearize(self.f, self.x, self.level)[1](self.e)

    def remembered(self) -> Place:
        """The same with x_0 at ``x`` itself worked out, for many directions from there."""
        x0 = self.f(self.x)
        return replace(self, f=lambda x: x0 if x is self.x else self.f(x))

    def row(self, by: Arithmetic, difference: str) -> Row:
        """What a row of figures is of."""
        where = {"t": self.level.t, "moves": self.moves}
        return {"arithmetic": by.name, "dtype": by.dtype, "difference": difference, **where}


class Passing(Direction):
    """A path's direction that shows each error, where it is met, before it answers.

    Args:
        path: what the path goes by.
        show: called with each place.
    """

    def __init__(self, path: Newton, show: Callable[[Place], None]) -> None:
        self.path, self.show, self.forwards = path, show, path.forwards
        self._level: Level | None = None
        self._moves = 0

    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        """As the path's; showing comes with the errors."""
        assert level is not None
        self._moves = self._moves + 1 if level == self._level else 0
        self._level, moves = level, self._moves
        fx, linear = self.path.linearize(f, x, level)

        def apply(e: Tensor) -> Tensor:
            self.show(Place(f, x, e, level, moves))
            return linear(e)

        return fx, apply


class Gauge:
    """Measures arithmetics at places of a path.

    Each row is one way to take the difference at one place: cosines, mean and least over the records, of the rounded
    difference with the exact one of the same length (rounding), of that with the true ``J e`` (truncation), of the
    rounded with the true (whole); seconds of a call and record.

    Args:
        model: whose network they run.
        arithmetics: with what ``auto`` measured under each.
        deltas: fixed ones, largest entries of the perturbation.
        reference: type of the exact network.

    Attributes:
        rows: what was found.
        refused: by the arithmetic's name, why forward mode does not go.
    """

    def __init__(
        self, model: Model, arithmetics: Sequence[Arithmetic], deltas: Sequence[float], reference: torch.dtype
    ) -> None:
        self.model, self.arithmetics, self.deltas, self.reference = model, arithmetics, deltas, reference
        self.exact = Cast(model.denoiser.network, reference)
        self.rows: list[Row] = []
        self.refused: dict[str, str] = {}

    def __call__(self, place: Place) -> None:
        """Measure at a place; rows whose error is zero count for nothing."""
        asked = max_norm(place.e).flatten() > 0
        if not asked.any():
            return
        with swapped(self.model, self.exact, None):
            wide = replace(place, x=place.x.to(self.reference), e=place.e.to(self.reference)).remembered()
            true = wide.along(Newton(DIFFERENCES[self.reference], central=True))
            fixed = {delta: wide.along(Newton(delta)) for delta in self.deltas}
        for arithmetic in self.arithmetics:
            if arithmetic.lever == FORWARD_MODE:
                self._forward_mode(place, arithmetic, true, asked)
                continue
            with arithmetic.running(self.model):
                began = time.perf_counter()
                rounded = place.remembered()
                call = elapsed(began, place.x) / len(place.x)
            for delta, smooth in fixed.items():
                row = self._compare(rounded, arithmetic, Newton(delta), smooth, true, asked)
                self.rows.append(row | {"way": delta, "call": call})
            for central in (False, True):
                auto = Newton("auto", central).with_lengths(arithmetic.lengths)
                with swapped(self.model, self.exact, None):
                    smooth = wide.along(auto)
                row = self._compare(rounded, arithmetic, auto, smooth, true, asked)
                self.rows.append(row | {"way": "auto", "call": call})

    def _compare(
        self, place: Place, by: Arithmetic, direction: Newton, smooth: Tensor, true: Tensor, asked: Tensor
    ) -> Row:
        with by.running(self.model):
            found = place.along(direction)
        largest = (direction.scale(place.e, place.level) * max_norm(place.e)).flatten()[asked].mean().item()
        return {
            **place.row(by, "central" if direction.central else "forward"),
            "delta": largest,
            "rounding": spread(cosines(found, smooth)[asked]),
            "truncation": spread(cosines(smooth, true)[asked]),
            "whole": spread(cosines(found, true)[asked]),
        }

    def _forward_mode(self, place: Place, by: Arithmetic, true: Tensor, asked: Tensor) -> None:
        """The derivative itself: nothing is cut off, so that rounding is all; attention by its plain formula."""
        if by.name in self.refused:
            return
        began = time.perf_counter()
        try:
            with by.running(self.model), sdpa_kernel(SDPBackend.MATH):
                found = torch.func.jvp(place.f, (place.x,), (place.e,))[1]
        except RuntimeError as error:
            self.refused[by.name] = first_line(error)
            return
        call, whole = elapsed(began, place.x) / len(place.x), spread(cosines(found, true)[asked])
        cosine = {"rounding": whole, "truncation": ONE, "whole": whole}
        self.rows.append(place.row(by, FORWARD_MODE) | {"delta": 0.0, **cosine, "way": FORWARD_MODE, "call": call})


def elapsed(began: float, x: Tensor) -> float:
    """Seconds since then, of work that may still be going on where ``x`` is."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of each row with its partner, ``(N,)`` in float64."""
    return torch.nn.functional.cosine_similarity(a.double().flatten(1), b.double().flatten(1))


def spread(values: Tensor) -> dict[str, float]:
    """Mean and least."""
    return {"mean": values.mean().item(), "least": values.min().item()}

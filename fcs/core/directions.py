"""Directions F(J, e): how an error on x_0 becomes a step on x_t, with J = d x_0 / d x_t.

Each pays exactly its own cost, since value and linear map are computed together (like ``jax.linearize``):

    Newton    J e      one forward per application         the paper
    Gradient  J^T e    one backward                       DPS, LDPS, PSLD, FreeDoM
    Local     e        nothing                            MPGD
    Exact     J^-1 e   J itself; for tiny models only     the paper's analysis
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import copy
from typing import Literal, Self

import torch
from torch import Tensor

from fcs.core.levels import Level
from fcs.core.per_sample import column, max_norm, rms, safe_divide

Function = Callable[[Tensor], Tensor]
LinearMap = Callable[[Tensor], Tensor]
FLOAT32 = 2.0**-4  # delta of ``auto`` in float32: far above its rounding, so that the batch shape hardly matters
# Largest entry of a perturbation in 16 bits; beyond it x_0 is nonlinear (cosine to J e .98 on digits, .93 at 1).
LARGEST = 0.5


class Direction(ABC):
    """A linear map from errors on ``f(x)`` to steps on ``x``.

    Attributes:
        forwards: denoiser calls that one application of the map costs.
        backwards: backward passes through the denoiser that it costs.
    """

    forwards: int = 0
    backwards: int = 0

    @abstractmethod
    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        """The value ``f(x)`` and the map ``e -> F(J, e)``, both ``(N, *)`` like ``x``; ``level`` is where f is."""


class Newton(Direction):
    """The inexact Newton direction ``J e`` by one difference, a forward one as published (Graikos et al. 2025).

    The perturbation is ``h e`` with ``h = difference / |e|_inf`` for each sample, so its largest entry is
    ``difference`` whatever the size of the error. Samples whose error is zero get a zero direction.

    Args:
        difference: largest entry of the perturbation, the paper's delta (0.005), in units of x_t; it is below the
            spacing of bf16 near 1. ``auto`` chooses it for the arithmetic: measured for 16 bits, by model and
            level; 1/16 in float32.
        central: from both sides, ``[f(x + h e) - f(x - h e)] / 2 h``, for one more call: half the rounding, and the
            truncation error is of second order.

    Raises:
        ValueError: a difference that is not positive.

    Attributes:
        lengths: for ``auto``, the rms of the perturbation by the level's t; empty in float32, which needs none.
    """

    def __init__(self, difference: float | Literal["auto"] = 0.005, central: bool = False) -> None:
        if difference != "auto" and not difference > 0:
            raise ValueError(f"difference={difference}: expected a number above 0, or auto")
        self.difference = difference
        self.central = central
        self.forwards = 2 if central else 1
        self.lengths: Mapping[float, float] = {}

    def with_lengths(self, lengths: Mapping[float, float]) -> Self:
        """The same direction with the lengths that were measured for 16 bits."""
        made = copy(self)
        made.lengths = dict(lengths)
        return made

    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        fx = f(x)

        def apply(e: Tensor) -> Tensor:
            h, asked = self._length(e, level)
            below = f(x - h * e) if self.central else fx
            return self._slope(f(x + h * e), below, h, asked)

        return fx, apply

    def product(self, f: Function, x: Tensor, e: Tensor, level: Level | None = None) -> Tensor:
        """``J e`` alone, where it is known before ``f(x)`` is: both ends of the difference in one call of ``f``.

        A sample's two ends stand side by side, so that an ``f`` that takes so many at once takes them together.
        """
        h, asked = self._length(e, level)
        ends = torch.stack([x + h * e, x - h * e if self.central else x], 1)
        found = f(ends.flatten(0, 1))
        return self._slope(found[::2], found[1::2], h, asked)

    def _length(self, e: Tensor, level: Level | None) -> tuple[Tensor, Tensor]:
        """The factor h of each sample, and where there is an error, ``(N, 1, ...)`` each."""
        met = max_norm(e) == 0
        return self.scale(torch.where(met, torch.ones_like(e), e), level), ~met

    def _slope(self, above: Tensor, below: Tensor, h: Tensor, asked: Tensor) -> Tensor:
        risen = (above - below) / 2 if self.central else above - below
        return safe_divide(risen / h, asked.to(risen.dtype))

    def scale(self, e: Tensor, level: Level | None) -> Tensor:
        """The factor h of each sample ``(N, 1, ...)`` for errors ``(N, *)`` that are not zero."""
        if self.difference != "auto":
            return self.difference / max_norm(e)
        length = None if level is None else self.lengths.get(level.t)
        if length is None:
            return FLOAT32 / max_norm(e)
        # Rounding affects the whole response, which the rms measures; nonlinearity sets in at its largest entry.
        return torch.minimum(length / column(rms(e), e), LARGEST / max_norm(e))


class Gradient(Direction):
    """The gradient direction ``J^T e`` by one backward pass through the denoiser."""

    backwards = 1

    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            fx = f(leaf)

        def apply(e: Tensor) -> Tensor:
            return torch.autograd.grad(fx, leaf, e, retain_graph=True)[0]

        return fx.detach(), apply


class Local(Direction):
    """The error itself, as if the Jacobian were the identity."""

    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        return f(x), lambda e: e


class Exact(Direction):
    """The exact Newton direction: the least-squares solution of ``J d = e``, singular values cut off.

    Forms J by one backward per output entry, so it is for tiny models (256 entries: seconds).

    Args:
        cutoff: singular values below this share of the largest are dropped (the authors use 0.5), 0 to 1.

    Raises:
        ValueError: a cutoff outside [0, 1).
    """

    forwards = 1  # the one that is differentiated
    backwards = 1  # J counts as one, though it takes one per entry: no cost table is about tiny models

    def __init__(self, cutoff: float = 0.5) -> None:
        if not 0 <= cutoff < 1:
            raise ValueError(f"cutoff={cutoff}: expected 0 or more and below 1")
        self.cutoff = cutoff

    def linearize(self, f: Function, x: Tensor, level: Level | None = None) -> tuple[Tensor, LinearMap]:
        fx = f(x)

        def apply(e: Tensor) -> Tensor:
            inverse = torch.linalg.pinv(jacobian(f, x), rtol=self.cutoff)
            return (inverse @ e.flatten(1).unsqueeze(2)).reshape(x.shape)

        return fx, apply


@torch.enable_grad()
def jacobian(f: Function, x: Tensor) -> Tensor:
    """The Jacobian of each sample, ``(N, D, D)`` for D entries, one backward per entry."""
    leaf = x.detach().requires_grad_()
    fx = f(leaf).flatten(1)
    rows = []
    for i in range(fx.shape[1]):
        # Samples of a batch do not affect each other, so one backward gives row i of every sample's J.
        (row,) = torch.autograd.grad(fx[:, i].sum(), leaf, retain_graph=True)
        rows.append(row.flatten(1))
    return torch.stack(rows, 1)

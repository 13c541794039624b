"""Measurements that are not linear: each leaves a convex cell of pictures, and has the nearest of them for an error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from fcs.core.operators.base import Operator

ROUNDING = 2 / 255  # how far inside a cell pictures stay that are to be written in 8 bits
SLACK = 1e-4  # in pixels of [-1, 1]: what float32 leaves of a point on a cell's border


class Cell(ABC):
    """The pictures that have given measurements, one convex set for each sample.

    Attributes:
        passes: projections in turn with the range of pixels, after which pictures of 8 bits are inside.
    """

    passes: int = 50

    @abstractmethod
    def excess(self, x: Tensor) -> Tensor:
        """How far pictures ``(N, C, H, W)`` in [-1, 1] are beyond the cell in each of its coordinates, ``(N, ...)``.

        Zero inside. Its norm is the distance to the cell, which autograd may go through; its unit is the pixels'.
        """

    @abstractmethod
    def nearest(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """The picture of the cell nearest to each of ``x``, like ``x``.

        Args:
            x: ``(N, C, H, W)`` in [-1, 1].
            margin: how far inside the border to stay, in pixels of [-1, 1], where the cell is wide enough.
        """

    def wanted(self, x: Tensor) -> Tensor:
        """What pictures ``x`` are to become, like them: the nearest, unless more is known of the cell's pictures."""
        return self.nearest(x)

    def within_range(self, x: Tensor) -> Tensor:
        """Pictures near ``x``, in the cell and with pixels of [-1, 1], so that 8 bits leave them there.

        Projections in turn onto both convex sets (von Neumann).
        """
        for _ in range(self.passes):
            x = self.nearest(x.clamp(-1, 1), ROUNDING)
        return x

    def share_inside(self, x: Tensor) -> Tensor:
        """Share of the coordinates in which pictures ``x`` ``(N, C, H, W)`` are inside, ``(N,)``."""
        return (self.excess(x).flatten(1).abs() <= SLACK).float().mean(1)


class IntervalCell(Cell):
    """A cell with an interval for each of some coordinates that are linear in the picture.

    Args:
        low, high: ends of the intervals, ``(N, M)``; infinite where there is none.
        coordinates: pictures ``(N, C, H, W)`` to ``(N, M)``, affine.
        displacement: the smallest change of a picture that changes its coordinates by ``(N, M)``.
    """

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        coordinates: Callable[[Tensor], Tensor],
        displacement: Callable[[Tensor], Tensor],
    ) -> None:
        self.low = low
        self.high = high
        self.coordinates = coordinates
        self.displacement = displacement

    def excess(self, x: Tensor) -> Tensor:
        found = self.coordinates(x)
        return found - found.clamp(self.low, self.high)

    def nearest(self, x: Tensor, margin: float = 0.0) -> Tensor:
        found = self.coordinates(x)
        inset = ((self.high - self.low) / 4).clamp(max=margin)
        return x + self.displacement(found.clamp(self.low + inset, self.high - inset) - found)


class Cells(Operator):
    """A measurement of pictures by which they fall into cells; not linear, and its derivative tells nothing.

    ``A`` makes the measurement, a picture too; ``cell`` says which pictures have it.
    """

    @abstractmethod
    def cell(self, y: Tensor) -> Cell:
        """The pictures whose measurements are ``y`` ``(N, C, H, W)`` in [-1, 1], up to 8 bits' rounding of ``y``."""

    def fits(self, shape: tuple[int, int, int]) -> str | None:
        """What is expected instead of pictures ``(C, H, W)`` of this shape; None where they can be measured."""
        return None

    def refuses(self, y: Tensor) -> dict[int, str]:
        """``code: detail`` by slot, of ``y`` ``(N, C, H, W)`` that cannot be such measurements."""
        return {}

    def A_adjoint(self, y: Tensor) -> NoReturn:
        """There is none.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self).__name__} is not linear: it has no transpose")

    def A_dagger(self, y: Tensor) -> Tensor:
        """The measurement itself, which is a picture of its cell."""
        return y


def coordinates_as_pixels(x: Tensor) -> Tensor:
    """The pixels themselves as coordinates, ``(N, C, H, W)`` to ``(N, M)``."""
    return x.flatten(1)


def grey_levels(pictures: Tensor) -> Tensor:
    """Pixels of [-1, 1] as grey levels of 0 to 255, not rounded."""
    return (pictures + 1) * 127.5


def from_grey_levels(levels: Tensor) -> Tensor:
    """Grey levels of 0 to 255 as pixels of [-1, 1]."""
    return levels / 127.5 - 1


def infinite_where(values: Tensor, where: Tensor, sign: int) -> Tensor:
    """``values`` with an infinity of this sign at some places: an interval that ends nowhere."""
    return torch.where(where, torch.full_like(values, sign * torch.inf), values)

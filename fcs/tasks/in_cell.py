"""Constraints of measurements that leave a cell of pictures: the error is towards the nearest of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fcs.core.constraints import Constraint, Projectable
from fcs.core.directions import Newton
from fcs.core.operators.cells import Cell
from fcs.core.per_sample import rms


class InCell(Constraint):
    """The decoded picture is one of those that have the given measurement.

    ``loss`` is the distance to the cell, a norm as in ``Measured``; its gradient, by autograd through the decoder
    only, points at the nearest picture of the cell.

    Args:
        cell: of the measurements.
        decode: D, from the model's space to pixels.
    """

    def __init__(self, cell: Cell, decode: Callable[[Tensor], Tensor]) -> None:
        self.cell = cell
        self.decode = decode

    def loss(self, x0: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self.cell.excess(self.decode(x0)).flatten(1), dim=1)

    def residual(self, x0: Tensor) -> Tensor:
        """Rms of what is beyond the cell, over its coordinates, in pixels of [-1, 1], ``(N,)``."""
        return rms(self.cell.excess(self.decode(x0)))


class EncodedInCell(InCell, Projectable):
    """The same, with an error that no backpropagation makes.

    ``e_x = P(D(x_0)) - D(x_0)`` in pixels, with P the picture of the cell that is wanted, mostly the nearest, then
    ``J_E e_x`` by a forward difference of the encoder, as in ``EncodedMeasured``.

    Args:
        cell: of the measurements.
        decode: D, the model's space to pixels.
        encode: E, pixels to the model's space, deterministic.
        difference: largest entry of the perturbation of the picture, in pixels of [-1, 1].
    """

    def __init__(
        self,
        cell: Cell,
        decode: Callable[[Tensor], Tensor],
        encode: Callable[[Tensor], Tensor],
        difference: float,
    ) -> None:
        super().__init__(cell, decode)
        self.encode = encode
        self.direction = Newton(difference)

    def error(self, x0: Tensor) -> Tensor:
        picture = self.decode(x0)
        wanted = self.cell.wanted(picture) - picture
        return self.direction.product(self.encode, picture, wanted)

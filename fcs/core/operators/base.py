"""Linear operators on pictures, in deepinv's vocabulary: ``A``, ``A_adjoint``, ``A_dagger``.

An object of deepinv's (a ``LinearPhysics``) has the same three methods, so it is an ``Operator`` as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from fcs.core.per_sample import column, dot

METHODS = ("A", "A_adjoint", "A_dagger")


class Operator(ABC):
    """A linear operator. ``A`` is enough: the transpose comes from autograd, the pseudo-inverse from iteration.

    What is not linear inherits from ``Cells``.

    Any object with all three methods counts as one, whether or not it inherits from this class.

    Attributes:
        iterations: of the conjugate gradients that ``A_dagger`` takes.
    """

    iterations: int = 30

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        if cls is Operator and all(callable(getattr(other, name, None)) for name in METHODS):
            return True
        return NotImplemented

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """The measurement of pictures ``(N, C, H, W)`` in [-1, 1]; linear, each picture by itself."""

    def picture_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of the pictures whose measurement has ``shape``; the same unless overridden."""
        return shape

    def A_adjoint(self, y: Tensor) -> Tensor:
        """The transpose, by one backward pass through ``A``."""
        with torch.enable_grad():
            x = y.new_zeros(self.picture_shape(y.shape)).requires_grad_()
            (adjoint,) = torch.autograd.grad(self.A(x), x, y)
        return adjoint

    def A_dagger(self, y: Tensor) -> Tensor:
        """The least-squares picture of least norm, by conjugate gradients on ``A^T A x = A^T y`` (CGLS)."""
        r, x = y, torch.zeros_like(self.A_adjoint(y))
        s = p = self.A_adjoint(r)
        gamma = dot(s, s)
        for _ in range(self.iterations):
            q = self.A(p)
            step = column(gamma / dot(q, q).clamp(min=1e-30), x)
            x, r = x + step * p, r - step * q
            s = self.A_adjoint(r)
            before, gamma = gamma, dot(s, s)
            p = s + column(gamma / before.clamp(min=1e-30), p) * p
        return x

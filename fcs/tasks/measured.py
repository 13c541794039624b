"""Constraints of restoration: an error by the encoder, and one at a perturbed point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fcs.core.constraints import Constraint, Measured, Projectable
from fcs.core.directions import Newton
from fcs.core.operators.base import Operator
from fcs.core.per_sample import RecordNoise, column, rms


class EncodedMeasured(Measured, Projectable):
    """A measurement whose error is taken back to the model's space by the encoder: without backpropagation.

    ``e_x = A^+ (y - A D(x_0))`` in pixels, then ``J_E e_x`` by a forward difference of the encoder at ``D(x_0)``,
    which stands in for ``J_D^-1 e_x``: the Newton direction of the sampler once more, applied to the autoencoder
    ("second Newton approximation" of the authors' ZoomLDM code). Encoding the decoded picture again cancels the
    autoencoder's own round-trip error.

    Args:
        target: y.
        operator: A and its pseudo-inverse.
        decode: D, the model's space to pixels.
        encode: E, pixels to the model's space, deterministic.
        difference: largest entry of the perturbation of the picture, in pixels of [-1, 1].
        noise: standard deviation of the noise in y, one number or one by sample.
    """

    def __init__(
        self,
        target: Tensor,
        operator: Operator,
        decode: Callable[[Tensor], Tensor],
        encode: Callable[[Tensor], Tensor],
        difference: float,
        noise: float | Tensor = 0.0,
    ) -> None:
        super().__init__(target, operator.A, decode, noise)
        self.inverse = operator.A_dagger
        self.encode = encode
        self.direction = Newton(difference)

    def error(self, x0: Tensor) -> Tensor:
        picture = self.decode(x0)
        return self.direction.product(self.encode, picture, self.error_in_pixels(picture))

    def error_in_pixels(self, picture: Tensor) -> Tensor:
        """``e_x`` of decoded pictures ``(N, C, H, W)``; 0 for those that lie within the measurement's noise."""
        missing = self.target.to(picture) - self.operator(picture)
        beyond = column(rms(missing) > self.noise, missing)
        return self.inverse(torch.where(beyond, missing, torch.zeros_like(missing)))


class Perturbed(Constraint):
    """A constraint whose error is taken at a point near x_0, a new one each time.

    Without it superresolution converges to a blurred picture that meets the measurement exactly (Graikos et al.,
    ICLR 2025 submission, appendix).

    Args:
        constraint: what must be met.
        std: of the perturbation, in the model's space.
        randn: its noise, by sample.
    """

    def __init__(self, constraint: Constraint, std: float, randn: RecordNoise) -> None:
        self.constraint = constraint
        self.std = std
        self.randn = randn

    def loss(self, x0: Tensor) -> Tensor:
        return self.constraint.loss(x0)

    def error(self, x0: Tensor) -> Tensor:
        return self.constraint.error(x0 + self.std * self.randn(x0.shape[1:]))

    def residual(self, x0: Tensor) -> Tensor:
        return self.constraint.residual(x0)

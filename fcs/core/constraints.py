"""Constraints: what the sampled x_0 must satisfy, as a loss and as the error that points towards the target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from fcs.core.per_sample import column, rms, safe_divide


class Constraint(ABC):
    """A condition on x_0. Only ``loss`` must be defined.

    Attributes:
        cheap: whether its residual costs a few sums and no network, so that it can be recorded at every level.
    """

    cheap: bool = False

    @abstractmethod
    def loss(self, x0: Tensor) -> Tensor:
        """How far each sample of ``x0`` ``(N, *)`` is from the target, ``(N,)``; zero where it is met."""

    def error(self, x0: Tensor) -> Tensor:
        """Direction on x_0 ``(N, *)`` towards the target: ``-grad loss`` unless a closed form replaces it."""
        with torch.enable_grad():
            leaf = x0.detach().requires_grad_()
            # Samples are independent, so the gradient of the sum holds every sample's own gradient.
            (gradient,) = torch.autograd.grad(self.loss(leaf).sum(), leaf)
        return -gradient

    def pull(self, x0: Tensor) -> Tensor:
        """``-grad`` of the distance to the target, a norm and not its square: what gradient methods step along.

        The error itself, or what stands in for it, where the loss is such a norm already (Chung et al. 2023, Alg. 1,
        in its published code).
        """
        return self.error(x0)

    def residual(self, x0: Tensor) -> Tensor:
        """Rms of the remaining error in the constraint's own space, ``(N,)``."""
        return rms(self.error(x0))


class Sum(Constraint):
    """Several constraints at once, each with a weight.

    Args:
        terms: the constraints.
        weights: one factor per constraint; all 1 if left out.

    Raises:
        ValueError: the number of weights differs from that of the terms.
    """

    def __init__(self, terms: list[Constraint], weights: list[float] | None = None) -> None:
        self.terms = terms
        self.weights = [1.0] * len(terms) if weights is None else weights
        if len(self.weights) != len(terms):
            raise ValueError(f"{len(self.weights)} weights for {len(terms)} constraints")

    def loss(self, x0: Tensor) -> Tensor:
        return torch.stack([w * c.loss(x0) for c, w in zip(self.terms, self.weights, strict=True)]).sum(0)

    def error(self, x0: Tensor) -> Tensor:
        return torch.stack([w * c.error(x0) for c, w in zip(self.terms, self.weights, strict=True)]).sum(0)

    def pull(self, x0: Tensor) -> Tensor:
        return torch.stack([w * c.pull(x0) for c, w in zip(self.terms, self.weights, strict=True)]).sum(0)


class Observed(Constraint):
    """A measurement ``y = A(x_0)`` is given, for methods that work in the measurement's own space."""

    @abstractmethod
    def missing(self, x0: Tensor) -> Tensor:
        """``y - A(x_0)`` ``(N, *)`` in the measurement's space, whose norm is the distance to the target."""


class Projectable(Constraint):
    """A measurement whose error is a displacement, not only a direction: x_0 plus its error meets the measurement.

    Exactly where entries are known, otherwise as nearly as a linearised autoencoder allows.
    """

    def project(self, x0: Tensor) -> Tensor:
        """``x0`` ``(N, *)`` moved onto the measurement."""
        return x0 + self.error(x0)


class Known(Projectable, Observed):
    """Some entries are known: inpainting in the model's own space.

    ``loss = .5 sum m (y - x_0)^2``, hence ``error = m (y - x_0)`` in closed form (Graikos et al. 2025, sec. 4).

    Args:
        target: y ``(N, *)``.
        known: m in [0, 1], ``(N, 1, ...)`` or like the target: 1 = known, 0 = free, between = softly known.
    """

    cheap = True

    def __init__(self, target: Tensor, known: Tensor) -> None:
        self.target = target
        self.known = known.expand_as(target)

    def loss(self, x0: Tensor) -> Tensor:
        return 0.5 * (self.known * (self.target - x0).square()).flatten(1).sum(1)

    def error(self, x0: Tensor) -> Tensor:
        return self.known * (self.target - x0)

    def pull(self, x0: Tensor) -> Tensor:
        # The loss is half of a squared norm.
        return safe_divide(self.error(x0), column((2 * self.loss(x0)).sqrt(), x0))

    def missing(self, x0: Tensor) -> Tensor:
        """``sqrt(m) (y - x_0)``, so that a softly known entry weighs as much as in the loss."""
        return self.known.sqrt() * (self.target - x0)

    def residual(self, x0: Tensor) -> Tensor:
        """Rms over the known entries, softly known ones by weight; 0 where nothing is known."""
        weight = self.known.flatten(1).sum(1)
        return (2 * self.loss(x0) / weight.clamp(min=1e-12)).sqrt()


class Measured(Observed):
    """A linear measurement ``y = A D(x_0)`` of the decoded picture (Graikos et al. 2025, superresolution).

    ``loss = |y - A D(x_0)|_2``, the norm and not its square, as published; its error comes from autograd through A
    and the decoder only. With measurement noise, only the part of the norm above that of the noise counts: a residual
    within the noise counts as met, so that the noise itself is not fitted (Morozov's discrepancy principle).

    Args:
        target: y ``(N, C, h, w)``, pixels in [-1, 1].
        operator: A, ``(N, C, H, W) -> (N, C, h, w)``.
        decode: D, from the model's space to pixels.
        noise: standard deviation of the noise in y, one number or one by sample ``(N,)``.
    """

    def __init__(
        self,
        target: Tensor,
        operator: Callable[[Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        noise: float | Tensor = 0.0,
    ) -> None:
        self.target = target
        self.operator = operator
        self.decode = decode
        self.noise = noise

    def missing(self, x0: Tensor) -> Tensor:
        return self.target - self.operator(self.decode(x0))

    def transpose(self, v: Tensor, picture: Tensor) -> Tensor:
        """``A^T v``, like ``picture``, by one backward pass through A; a function of ``v`` for autograd too."""
        with torch.enable_grad():
            leaf = torch.zeros_like(picture).requires_grad_()
            (transposed,) = torch.autograd.grad(self.operator(leaf), leaf, v, create_graph=v.requires_grad)
        return transposed

    def loss(self, x0: Tensor) -> Tensor:
        # linalg.vector_norm has gradient 0 at 0, where the constraint is met.
        missing = self.missing(x0).flatten(1)
        return (torch.linalg.vector_norm(missing, dim=1) - self.noise * missing.shape[1] ** 0.5).clamp(min=0)

    def residual(self, x0: Tensor) -> Tensor:
        """Rms of ``y - A D(x_0)`` in pixels of [-1, 1], ``(N,)``."""
        return rms(self.missing(x0))

"""What a sampler is, and the steps between noise levels that samplers are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from inspect import isabstract
from typing import Self, TypeVar

from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.directions import Direction
from fcs.core.discovery import classes, known_as
from fcs.core.levels import Level, pairs

Noise = Callable[[Sequence[int]], Tensor]
Kind = TypeVar("Kind", bound=Constraint)


class Sampler(ABC):
    """A method of constrained sampling: noise in, x_0 out. Its attributes never change after construction.

    Attributes:
        prompted: whether it needs a model with prompts.
        direction: the map from errors to steps of samplers that take one; None for the others.
    """

    prompted: bool = False
    direction: Direction | None = None

    @property
    def needs(self) -> type[Constraint]:
        """The kind of constraint that it can work with."""
        return Constraint

    @abstractmethod
    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        """x_0 ``(N, *)`` from noise.

        Args:
            x: ``(N, *)`` x_T at ``levels[0]``.
            levels: noisiest first; the last is ``(alpha, sigma) = (1, 0)``.
            denoise: ``(x, level) -> x_0``.
            constraint: what x_0 must satisfy.
            randn: ``shape of one sample -> (N, *)`` standard normal noise.
        """

    @abstractmethod
    def calls(self, steps: int) -> int:
        """Denoiser calls for one record over ``steps`` levels."""

    def backwards(self, steps: int) -> int:
        """Backward passes through the denoiser for one record; those through a decoder alone are not counted."""
        return 0

    def with_direction(self, direction: Direction) -> Self:
        """The same sampler with another direction.

        Raises:
            TypeError: a sampler that takes none.
        """
        if self.direction is None:
            raise TypeError(f"{type(self).__name__}: expected a sampler with a direction")
        made = copy(self)
        made.direction = direction
        return made


def forward_only() -> list[str]:
    """Short names of the samplers that, with their defaults, need no backward pass through the denoiser."""
    kinds = [kind for kind in classes("fcs.samplers", Sampler).values() if _needs_none(kind)]
    return sorted(known_as(kind).lower() for kind in kinds)


def _needs_none(kind: type[Sampler]) -> bool:
    return not isabstract(kind) and not kind().backwards(1)


class StepSampler(Sampler):
    """A sampler that does the same at every level and keeps nothing from one to the next."""

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        for t, s in pairs(levels):
            x = self.step(x, t, s, denoise, constraint, randn)
        return x

    @abstractmethod
    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        """``x`` ``(N, *)`` at level ``t`` to level ``s``, ``(N, *)``. The other arguments are those of the sampler."""


def require(constraint: Constraint, kind: type[Kind]) -> Kind:
    """``constraint``, known to be of the kind that a sampler works with.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(constraint, kind):
        raise TypeError(f"{type(constraint).__name__}: expected the constraint {kind.__name__}")
    return constraint


def at(denoise: Denoise, level: Level) -> Callable[[Tensor], Tensor]:
    """The denoiser at one level, ``x -> x_0``, as directions take it."""
    return lambda x: denoise(x, level)


def clipped(denoise: Denoise, clip: bool) -> Denoise:
    """The denoiser with x_0 held within [-1, 1], the range of pixels, if that is wanted."""
    return (lambda x, level: denoise(x, level).clamp(-1, 1)) if clip else denoise


def ddim_step(x: Tensor, x0: Tensor, t: Level, s: Level, randn: Noise) -> Tensor:
    """The DDIM step from level ``t`` to ``s`` (Song et al. 2021, eq. 12); Euler's step for a flow.

    ``x_s = alpha_s x_0 + sqrt(sigma_s^2 - b^2) eps + b z`` with ``eps`` recomputed from ``x`` and ``b = s.noise_std``.

    Args:
        x, x0: ``(N, *)`` at level ``t``.
        t, s: levels, the noisier first.
        randn: new noise.
    """
    return noised(x0, (x - t.alpha * x0) / t.sigma, s, randn)


def noised(x0: Tensor, eps: Tensor, s: Level, randn: Noise) -> Tensor:
    """``x_s = alpha_s x_0 + sqrt(sigma_s^2 - b^2) eps + b z`` with ``b = s.noise_std``.

    Args:
        x0, eps: picture and noise ``(N, *)``.
        s: the level.
        randn: new noise.
    """
    x = s.alpha * x0 + max(s.sigma**2 - s.noise_std**2, 0.0) ** 0.5 * eps
    return x + s.noise_std * randn(x.shape[1:]) if s.noise_std > 0 else x


def with_eta(t: Level, s: Level, eta: float) -> Level:
    """Level ``s`` with the new noise of DDIM's eta for a step from ``t`` (Song et al. 2021, eq. 16).

    0 adds none; 1 is ancestral sampling, whatever the distance between the levels. A level whose noise is all new
    stays as it is: x_0 of a consistency model is the end of a path, and noise on the way there belongs to no other.
    """
    if s.renewed:
        return s
    kept = t.alpha * s.sigma / (s.alpha * t.sigma)
    return s._replace(noise_std=eta * s.sigma * max(1 - kept**2, 0.0) ** 0.5)


def renoise(x: Tensor, s: Level, t: Level, randn: Noise) -> Tensor:
    """``x`` ``(N, *)`` from level ``s`` back to the noisier ``t``, as the forward diffusion goes.

    Lugmayr et al. 2022, sec. 4.2.
    """
    ratio = t.alpha / s.alpha
    return ratio * x + max(t.sigma**2 - (ratio * s.sigma) ** 2, 0.0) ** 0.5 * randn(x.shape[1:])

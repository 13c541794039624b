"""The walk down the noise levels, and the step that every sampler ends with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.levels import Level, pairs

Denoise = Callable[[Tensor, Level], Tensor]
Noise = Callable[[Sequence[int]], Tensor]
Kind = TypeVar("Kind", bound=Constraint)


class Sampler(ABC):
    """Walks down the levels; ``step`` says what happens at each.

    Attributes:
        needs: the kind of constraint that it can work with.
        prompted: whether it needs a model with prompts.
    """

    needs: type[Constraint] = Constraint
    prompted: bool = False

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        """x_0 ``(N, *)`` from noise.

        Args:
            x: ``(N, *)`` x_T at ``levels[0]``.
            levels: noisiest first; the last is ``(alpha, sigma) = (1, 0)``.
            denoise: ``(x, level) -> x_0``.
            constraint: what x_0 must satisfy.
            randn: ``shape of a row -> (N, *)`` standard normal noise.
        """
        for t, s in pairs(levels):
            x = self.step(x, t, s, denoise, constraint, randn)
        return x

    @abstractmethod
    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        """``x`` ``(N, *)`` at level ``t`` to level ``s``."""

    @abstractmethod
    def calls(self, steps: int) -> int:
        """Denoiser calls for one record over ``steps`` levels."""

    def backwards(self, steps: int) -> int:
        """Backward passes through the denoiser for one record; those through a decoder alone are not counted."""
        return 0


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


def ddim(x: Tensor, x0: Tensor, t: Level, s: Level, randn: Noise) -> Tensor:
    """The DDIM step from level ``t`` to ``s`` (Song et al. 2021, eq. 12); Euler's step for a flow.

    ``x_s = alpha_s x_0 + sqrt(sigma_s^2 - b^2) eps + b z`` with ``eps`` recomputed from ``x`` and ``b = s.fresh``.
    """
    return arrive(x0, (x - t.alpha * x0) / t.sigma, s, randn)


def arrive(x0: Tensor, eps: Tensor, s: Level, randn: Noise) -> Tensor:
    """Level ``s`` from a picture and a noise: ``alpha_s x_0 + sqrt(sigma_s^2 - b^2) eps + b z``, ``b = s.fresh``."""
    x = s.alpha * x0 + max(s.sigma**2 - s.fresh**2, 0.0) ** 0.5 * eps
    return x + s.fresh * randn(x.shape[1:]) if s.fresh > 0 else x


def stochastic(t: Level, s: Level, eta: float) -> Level:
    """Level ``s`` with the new noise of DDIM's eta on arriving from ``t`` (Song et al. 2021, eq. 16).

    0 adds none; 1 is ancestral sampling, whatever the distance between the levels.
    """
    kept = t.alpha * s.sigma / (s.alpha * t.sigma)
    return s._replace(fresh=eta * s.sigma * max(1 - kept**2, 0.0) ** 0.5)


def renoise(x: Tensor, s: Level, t: Level, randn: Noise) -> Tensor:
    """Back from level ``s`` to the noisier ``t``, as the forward diffusion goes (Lugmayr et al. 2022, sec. 4.2)."""
    ratio = t.alpha / s.alpha
    return ratio * x + max(t.sigma**2 - (ratio * s.sigma) ** 2, 0.0) ** 0.5 * randn(x.shape[1:])

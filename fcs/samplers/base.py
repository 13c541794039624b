"""The walk down the noise levels, and the step that every sampler ends with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from fcs.constraint import Constraint
from fcs.levels import Level, pairs

Denoise = Callable[[Tensor, Level], Tensor]
Noise = Callable[[Sequence[int]], Tensor]


class Sampler(ABC):
    """Walks down the levels; ``step`` says what happens at each.

    Attributes:
        needs: the kind of constraint that it can work with.
    """

    needs: type[Constraint] = Constraint

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


def ddim(x: Tensor, x0: Tensor, t: Level, s: Level, randn: Noise) -> Tensor:
    """The DDIM step from level ``t`` to ``s`` (Song et al. 2021, eq. 12); Euler's step for a flow.

    ``x_s = alpha_s x_0 + sqrt(sigma_s^2 - b^2) eps + b z`` with ``eps`` recomputed from ``x`` and ``b = s.fresh``.
    """
    eps = (x - t.alpha * x0) / t.sigma
    x = s.alpha * x0 + max(s.sigma**2 - s.fresh**2, 0.0) ** 0.5 * eps
    return x + s.fresh * randn(x.shape[1:]) if s.fresh > 0 else x

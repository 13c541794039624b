"""Baselines on the same loop: what constrained sampling is compared with."""

from __future__ import annotations

from torch import Tensor

from fcs.core.constraints import Constraint, Known
from fcs.core.levels import Level
from fcs.samplers.base import Denoise, Noise, Sampler, ddim, require


class DDIM(Sampler):
    """Plain sampling; the constraint is not looked at (Song et al. 2021)."""

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        return ddim(x, denoise(x, t), t, s, randn)

    def calls(self, steps: int) -> int:
        return steps


class Replacement(Sampler):
    """After each DDIM step the known entries are replaced by their target, noised to the level (Song et al. 2021b).

    For inpainting only.
    """

    needs = Known

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        given = require(constraint, Known)
        x = ddim(x, denoise(x, t), t, s, randn)
        noised = s.alpha * given.target + s.sigma * randn(x.shape[1:])
        return given.known * noised + (1 - given.known) * x

    def calls(self, steps: int) -> int:
        return steps

"""Replacement: the known entries are overwritten at every level."""

from __future__ import annotations

from torch import Tensor

from fcs.core.constraints import Constraint, Known
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, ddim_step, require


class Replacement(StepSampler):
    """After each DDIM step the known entries become their target, noised to the level (Song et al. 2021b).

    For inpainting only.
    """

    needs = Known

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        known = require(constraint, Known)
        x = ddim_step(x, denoise(x, t), t, s, randn)
        target = s.alpha * known.target + s.sigma * randn(x.shape[1:])
        return known.known * target + (1 - known.known) * x

    def calls(self, steps: int) -> int:
        return steps

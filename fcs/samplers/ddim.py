"""DDIM: plain sampling, the baseline that looks at no constraint."""

from __future__ import annotations

from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, ddim_step


class DDIM(StepSampler):
    """Plain sampling; the constraint is ignored (Song et al. 2021, eq. 12)."""

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        return ddim_step(x, denoise(x, t), t, s, randn)

    def calls(self, steps: int) -> int:
        return steps

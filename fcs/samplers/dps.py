"""Diffusion posterior sampling: a step of the sampler, then one down the gradient of the distance."""

from __future__ import annotations

from torch import Tensor

from fcs.core.arguments import zero_to_one
from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.directions import Gradient
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, at, clipped, ddim_step, with_eta


class DPS(StepSampler):
    """``x_s = sample(x_t) - step_size grad_{x_t} |y - A x_0(x_t)|`` (Chung et al. 2023, Alg. 1).

    The gradient goes through the denoiser. The paper writes a squared norm and a step size divided by the norm; the
    published code takes the gradient of the norm itself, which is the same up to a factor 2. That norm is over the
    whole batch in the code, so that a sample moves less in a batch than alone; here it is over each sample.

    Args:
        step_size: in units of x_s; the published configs have 0.5 for inpainting, 0.3 for superresolution, at 1000
            levels. Its norm is over all entries: other picture sizes want other steps.
        eta: of the sampler; 1 is the published ancestral sampling.
        clip: hold x_0 within [-1, 1] before its error is taken, as published for models of pixels (the code's
            ``clip_denoised``); an entry beyond has no gradient. Latents have other ranges.

    Raises:
        ValueError: an eta outside 0 to 1.
    """

    def __init__(self, step_size: float = 0.5, eta: float = 1.0, clip: bool = False) -> None:
        zero_to_one(eta=eta)
        self.step_size = step_size
        self.eta = eta
        self.clip = clip

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        x0, F = Gradient().linearize(at(clipped(denoise, self.clip), t), x)
        return ddim_step(x, x0, t, with_eta(t, s, self.eta), randn) + self.step_size * F(constraint.pull(x0))

    def calls(self, steps: int) -> int:
        return steps

    def backwards(self, steps: int) -> int:
        return steps


class LDPS(DPS):
    """``DPS`` on a latent model, as papers name it: the gradient goes through decoder and denoiser.

    No paper of its own; Rout et al. (2023) and Chung et al. (2024, P2L) compare with it.

    Args:
        step_size: in units of x_s; DPS's 0.5.
        eta: of the sampler; 1 is ancestral sampling.
        clip: hold x_0 within [-1, 1]; for models of pixels.

    Raises:
        ValueError: an eta outside 0 to 1.
    """

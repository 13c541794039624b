"""LATINO: a few steps of a consistency model, each followed by the picture's proximal step."""

from __future__ import annotations

from torch import Tensor

from fcs.core.arguments import above_zero
from fcs.core.constraints import Constraint, Observed
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, require
from fcs.samplers.prior import prior_of
from fcs.samplers.proximal import proximal

CG_ITERATIONS = 20  # the proximal weights are small, down to 4e-4
MIDDLE = 500  # in units of the level's t, 0 to 1000


class LATINO(StepSampler):
    """Noise to x_0, decode, proximal step in pixels, encode, fresh noise to the next level; no gradient anywhere.

    Spagnoletti et al. (2025, LATINO-PRO, Alg. 1; published code ``main_LATINO.py`` and ``noise_schemes.py``). Made for
    latent consistency models, whose x_0 is a picture at any level; another model's is a blurred mean at the first
    levels. At each level ``x_0 <- E(prox(D(x_0)))`` with ``prox(u) = argmin_x gamma |y - A x|^2 / 2 + |x - u|^2 / 2``
    and ``gamma = trust sigma_t^2 / noise^2``; then x_s is that x_0 under new noise. The published code samples at 8
    levels (999, 874, ..., 124), with the trust below for inpainting; for superresolution and blur trust is proportional
    to ``|y - A x|`` by factors for 1024 pixels, which are not carried over. It begins at the noised ``E(A^T y)``, whose
    share of the first level is alpha = .07; here sampling begins at noise, as in other methods, and its levels are the
    nearest of the 50 at which the network was distilled (999, 879, ..., 139). It clips D(x_0), and
    LCMScheduler weighs x_0 by a factor that is 1 but for the very last levels. Where entries of the model's own space
    are known (inpainting) A is the mask in that space; the published code masks pixels. LATINO-PRO's prompt tuning is
    not here.

    Args:
        noise: standard deviation of the measurement's noise, sigma_y, above 0; published 0.02 in [-1, 1].
        early: trust while the network is told more than 500 of 1000, above 0.
        late: trust from there on, above 0.

    Raises:
        ValueError: a number that is not positive.
    """

    needs = Observed

    def __init__(self, noise: float = 0.02, early: float = 1.0, late: float = 0.5) -> None:
        above_zero(noise=noise, early=early, late=late)
        self.noise = noise
        self.early = early
        self.late = late

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        prior, measurement = prior_of(denoise, "latino"), require(constraint, Observed)
        trust = self.early if t.t > MIDDLE else self.late
        weight = self.noise**2 / (trust * t.sigma**2)
        x0 = proximal(prior(x, t), measurement, prior, weight, CG_ITERATIONS)
        return s.alpha * x0 + s.sigma * randn(x.shape[1:]) if s.sigma > 0 else x0

    def calls(self, steps: int) -> int:
        return steps

"""DING: inpainting by exact posterior steps with the noise predicted one level ahead."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from fcs.core.arguments import above_zero
from fcs.core.constraints import Constraint, Known
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, noised, require, with_eta

Bridge = Literal["square", "root", "ddpm"]


class DING(StepSampler):
    """Two calls a level, no backpropagation (DING, ICLR 2026; published code ``src/fm/samplers/exact_algo.py``).

    With ``mu`` the DDIM mean of x_s, ``eta`` the bridge's new noise and ``eh`` the noise predicted at ``mu + eta n``,
    the likelihood of the known entries is ``N(alpha_s y + sigma_s eh; x_s, (alpha_s noise)^2)`` and the prior
    ``N(mu, eta^2)``, so with ``gamma = eta^2 / (eta^2 + alpha_s^2 noise^2)`` they become ``(1 - gamma) mu + gamma
    (alpha_s y + sigma_s eh) + alpha_s noise sqrt(gamma) n'`` and the others ``mu + eta n'``. The last level gives its
    x_0. The published code is for flows, ``alpha = 1 - t``; nothing in it is specific to flows. It takes 28 levels and
    ends two levels early since bfloat16 cannot hold them; here all are sampled. A softly known entry has its precision
    times m.

    Args:
        noise: standard deviation of the known entries' noise, sigma_y, above 0; published 0.01.
        bridge: eta, the new noise of a level: ``square`` is ``sigma_s (1 - alpha_s)``, which the published results
            have; ``root`` is ``sigma_s sqrt(1 - alpha_s)``, the default of the code's own function; ``ddpm`` is
            ancestral sampling's.

    Raises:
        ValueError: a noise that is not positive, an unknown bridge.
    """

    needs = Known

    def __init__(self, noise: float = 0.01, bridge: Bridge = "square") -> None:
        above_zero(noise=noise)
        if bridge not in get_args(Bridge):
            raise ValueError(f"bridge={bridge}: expected {', '.join(get_args(Bridge))}")
        self.noise = noise
        self.bridge = bridge

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        known = require(constraint, Known)
        x0 = denoise(x, t)
        if s.sigma == 0:
            return x0
        eta = self._eta(t, s)
        spread = (s.sigma**2 - eta**2) ** 0.5
        mean = s.alpha * x0 + spread * (x - t.alpha * x0) / t.sigma
        ahead = mean + eta * randn(x.shape[1:])
        eps = (ahead - s.alpha * denoise(ahead, s)) / s.sigma
        target = noised(known.target, eps, s._replace(noise_std=0.0), randn)
        floor = (s.alpha * self.noise) ** 2
        precision = known.known * eta**2 + floor
        gamma = known.known * eta**2 / precision
        return mean + gamma * (target - mean) + eta * (floor / precision).sqrt() * randn(x.shape[1:])

    def _eta(self, t: Level, s: Level) -> float:
        if self.bridge == "ddpm":
            return with_eta(t, s, 1).noise_std
        return s.sigma * (1 - s.alpha) ** (1.0 if self.bridge == "square" else 0.5)

    def calls(self, steps: int) -> int:
        return 2 * steps - 1

"""Posterior sampling with latent diffusion: DPS, and x_0 must survive the codec's round trip."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.arguments import zero_to_one
from fcs.core.constraints import Constraint, Known, Measured, Observed
from fcs.core.denoiser import Denoise
from fcs.core.directions import Gradient
from fcs.core.levels import Level
from fcs.core.per_sample import column, dot, safe_divide
from fcs.samplers.base import Noise, StepSampler, at, ddim_step, require, with_eta
from fcs.samplers.prior import Prior, prior_of

ITERATIONS = 10  # for the largest singular value of A; exact after one where A A^T is a multiple of 1


class PSLD(StepSampler):
    """DPS with a gluing term (Rout et al. 2023, Alg. 2; published code ``stable-diffusion/.../psld.py``).

    ``x_s = ddim(x_t) - grad_{x_t} [omega |y - A D(z_0)| + gamma |E(A^T y + (I - A^T A) D(z_0)) - z_0|]``. The paper
    writes squared norms, the code norms, as here; the paper has no factor on ``A^T``, but the code's A^T is such that
    ``A^T A`` projects (enlargement for superresolution), which is ``A^T / |A|^2`` here.

    Where entries of the model's own space are known (inpainting) A is the mask in that space, and the gluing term
    is ``|E(D(m y + (1 - m) z_0)) - z_0|``; the published code masks pixels. On a pixel model E and D do nothing and
    both terms are one.

    Args:
        omega: weight of the measurement term; the published code's default is 1, its script for boxes takes 0.1 (0.5 in
            an earlier version).
        gamma: weight of the gluing term; the default of the code is 0.1, for boxes 0.01 (0.05).
        eta: of the DDIM steps; the published code's is 0.

    Raises:
        ValueError: an eta outside 0 to 1.
    """

    needs = Observed

    def __init__(self, omega: float = 1.0, gamma: float = 0.1, eta: float = 0.0) -> None:
        zero_to_one(eta=eta)
        self.omega = omega
        self.gamma = gamma
        self.eta = eta

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        prior, measurement = prior_of(denoise, "psld"), require(constraint, Observed)
        x0, F = Gradient().linearize(at(prior, t), x)
        return ddim_step(x, x0, t, with_eta(t, s, self.eta), randn) + F(self._pull(x0, measurement, prior))

    @torch.enable_grad()
    def _pull(self, x0: Tensor, constraint: Observed, prior: Prior) -> Tensor:
        """``-grad`` of both terms at ``x0``."""
        leaf = x0.detach().requires_grad_()
        measurement = torch.linalg.vector_norm(constraint.missing(leaf).flatten(1), dim=1)
        gluing = torch.linalg.vector_norm((glued(leaf, constraint, prior) - leaf).flatten(1), dim=1)
        (gradient,) = torch.autograd.grad((self.omega * measurement + self.gamma * gluing).sum(), leaf)
        return -gradient

    def calls(self, steps: int) -> int:
        return steps

    def backwards(self, steps: int) -> int:
        return steps


def glued(x0: Tensor, constraint: Observed, prior: Prior) -> Tensor:
    """``x0`` ``(N, *)`` with its measured part replaced by the measurement, then encoded again.

    Raises:
        TypeError: a constraint that is neither ``Known`` nor ``Measured``.
    """
    if isinstance(constraint, Known):
        return prior.reencode(x0 + constraint.error(x0))
    measured = require(constraint, Measured)
    picture = prior.decode(x0)
    back = measured.transpose(measured.target - measured.operator(picture), picture)
    return prior.encode(picture + safe_divide(back, squared_norm(measured, picture)))


@torch.no_grad()
def squared_norm(measured: Measured, picture: Tensor) -> Tensor:
    """The largest eigenvalue of ``A A^T`` for each sample, ``(N, 1, ...)``, by power iteration; 0 where A is 0."""
    v = torch.ones_like(measured.target)
    largest = torch.zeros(len(v), dtype=v.dtype, device=v.device)
    for _ in range(ITERATIONS):
        v = safe_divide(v, column(dot(v, v).sqrt(), v))
        w = measured.operator(measured.transpose(v, torch.zeros_like(picture)))
        largest, v = dot(v, w), w
    return column(largest, picture)

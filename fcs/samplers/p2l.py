"""Prompt tuning: the text embedding is fitted to the measurement while x_0 is sampled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fcs.core.arguments import above_zero, at_least, zero_to_one
from fcs.core.constraints import Constraint, Observed
from fcs.core.denoiser import Denoise
from fcs.core.directions import Gradient
from fcs.core.errors import UsageError
from fcs.core.levels import Level, pairs
from fcs.samplers.base import Noise, Sampler, at, noised, require, with_eta
from fcs.samplers.prior import Prior, prior_of
from fcs.samplers.proximal import proximal

CG_ITERATIONS = 5


class P2L(Sampler):
    """LDPS with a tuned prompt and projections onto what the encoder says (Chung et al. 2024).

    At each level the embedding takes ``tunings`` steps of Adam down ``|y - A D(z_0)|^2`` and goes on to the next
    level; at every ``every``-th level z_0 becomes ``E(argmin_x |y - A x|^2 / 2 + weight |x - D(z_0)|^2 / 2)``; then a
    DDIM step with the noise of the z_0 before, and LDPS's gradient step. Each sample has an embedding of its own. The
    guidance's other branch is left alone; the paper uses none. Where entries of the model's own space are known A is
    the mask in that space. Its authors published no code, and the paper's settings (its Table 6) differ by task. The
    one public reimplementation (in LATINO's repository, after that table) has 999 levels with one step of Adam at
    each, five on SDXL, a rate of 1e-4, a projection of weight 1 at every eighth level, and steps of 0.05 (for
    inpainting under a second Adam); these defaults tune and project more often, and should be tuned for a model.

    Args:
        tunings: steps of Adam on the embedding at each level, a call and a backward each; 0 or more.
        rate: their learning rate.
        step_size: of the gradient step, in units of x_s.
        every: levels from one projection to the next, counted from the first; 0 for no projection.
        weight: of x_0 against the measurement in the projection, above 0.
        eta: of the DDIM steps.

    Raises:
        ValueError: a number below its bound.
    """

    needs = Observed
    prompted = True

    def __init__(
        self,
        tunings: int = 3,
        rate: float = 1e-4,
        step_size: float = 1.0,
        every: int = 3,
        weight: float = 1.0,
        eta: float = 0.0,
    ) -> None:
        at_least(0, tunings=tunings, every=every)
        above_zero(weight=weight)
        zero_to_one(eta=eta)
        self.tunings = tunings
        self.rate = rate
        self.step_size = step_size
        self.every = every
        self.weight = weight
        self.eta = eta

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        prior, measurement = prior_of(denoise, "p2l"), require(constraint, Observed)
        cond = prior.guided.cond
        if cond is None:
            raise UsageError.of("sampler", "p2l", "a sampler for a model without prompts")
        for number, (t, s) in enumerate(pairs(levels)):
            cond = self._tuned(cond, x, t, prior, measurement)
            project = self.every > 0 and number % self.every == 0
            x = self._move(x, t, s, prior.with_cond(cond), measurement, randn, project)
        return x

    @torch.enable_grad()
    def _tuned(self, cond: Tensor, x: Tensor, t: Level, prior: Prior, constraint: Observed) -> Tensor:
        """The prompts' embeddings ``(N, ...)``, fitted at level ``t``."""
        embedding = cond.clone().requires_grad_()
        adam = torch.optim.Adam([embedding], self.rate)
        tuned = prior.with_cond(embedding)
        for _ in range(self.tunings):
            loss = constraint.missing(tuned(x, t)).square().sum()
            (embedding.grad,) = torch.autograd.grad(loss, embedding)
            adam.step()
        return embedding.detach()

    def _move(
        self, x: Tensor, t: Level, s: Level, prior: Prior, constraint: Observed, randn: Noise, project: bool
    ) -> Tensor:
        """LDPS's step from level ``t`` to ``s``, with the projection of x_0 where ``project`` asks for it."""
        x0, F = Gradient().linearize(at(prior, t), x)
        eps = (x - t.alpha * x0) / t.sigma
        kept = proximal(x0, constraint, prior, self.weight, CG_ITERATIONS) if project else x0
        return noised(kept, eps, with_eta(t, s, self.eta), randn) + self.step_size * F(constraint.pull(x0))

    def calls(self, steps: int) -> int:
        return steps * (1 + self.tunings)

    def backwards(self, steps: int) -> int:
        return steps * (1 + self.tunings)

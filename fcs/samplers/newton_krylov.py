"""Newton-Krylov: x_0 is corrected within what products with J span, at this level and before, and x_t moves with it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcs.core.arguments import above_zero, at_least, zero_to_one
from fcs.core.constraints import Constraint, Known
from fcs.core.denoiser import Denoise
from fcs.core.directions import Direction, Newton
from fcs.core.levels import Level, pairs
from fcs.samplers.base import Noise, Sampler, at, require
from fcs.samplers.projected_newton import fitted, hidden_std, onward, stretched


class NewtonKrylov(Sampler):
    """Products ``J e`` at one point a level, and the least-squares solution in their span: 1 + 1 calls a level.

    ``InexactNewton`` pays for each of its moves twice: for the direction ``J e`` and for x_0 at the point it moves to.
    Here x_t stays while x_0 is corrected. Each product is with the error that the fit before it leaves, as in Krylov
    methods that need no matrix (Knoll & Keyes 2004); products of earlier levels, whose J is nearly this one, belong to
    the span at no cost. Then x_0 is put onto the known entries, and x_t goes on by a second-order step with new noise,
    as in ``ProjectedNewton``.

    For a Gaussian prior the corrected x_0 is the posterior mean, and the samples have the posterior's distribution as
    the levels become many. Other priors are not linear where little is decided yet, so that one level corrects too
    little; ``follow`` and ``push`` make up for that.

    ``push`` is a dual ascent. Moving the known entries of x_t by ``delta`` weighs each x_0 of the posterior by
    ``exp(<lambda, m x_0>)`` with ``lambda = alpha delta / sigma^2``: with the right multipliers its mean meets the
    measurement, and what is hidden has the distribution that is nearest to the network's own (in Kullback and
    Leibler's sense) among those that do. Steps of ancestral sampling (``eta`` 1) carry lambda from level to level
    unchanged, so each level's error can be added to it. It costs no call: with ``products`` of 0 a level costs one.

    ``prior_variance`` is for steps that are long. A step of ancestral sampling takes x_0 to be certain; what is hidden
    is not. With a prior of this variance a free entry has, given x_t, the variance
    ``1 / (1 / prior_variance + alpha^2 / sigma^2)``, and the step goes on from a draw with it (a white Gaussian's case
    of the optimal reverse variance of Bao et al. 2022). It costs no call, and with more levels there is less of it.

    Args:
        direction: the map from errors to changes of x_0; the Newton direction if left out.
        products: at each level, noisiest first; stretched or thinned where there is another number of levels.
        follow: how far x_t moves along with x_0, in units of the correction times alpha, 0 or more. With 0 samples vary
            as the posterior does; with 1 the noise in x_t stays what it was, and the hidden part follows the known one
            more closely.
        push: how far the known entries of x_t move towards the measurement beside that, in units of sigma times the
            error of x_0 before it was corrected, 0 or more.
        ridge: of the fit, relative to each product's squared norm, above 0.
        memory: how many products of earlier levels, the latest, the fit has beside its own.
        eta: new noise of a step, as DDIM's eta; 1 is ancestral sampling's, 0 none.
        prior_variance: of a free entry of x_0 before anything is known of it, 0 or more; latents have about 1. With 0
            steps go on from the mean of x_0. 1 is better calibrated with trained networks; with an exact x_0 of a flow
            it is worse.

    Raises:
        ValueError: no products or negative ones, a negative follow, push, memory or prior variance, a ridge that is
            not positive, an eta outside 0 to 1.
    """

    needs = Known
    direction: Direction

    def __init__(
        self,
        direction: Direction | None = None,
        products: Sequence[int] = (1,),
        follow: float = 0.5,
        push: float = 0.0,
        ridge: float = 0.01,
        memory: int = 8,
        eta: float = 1.0,
        prior_variance: float = 0.0,
    ) -> None:
        if not products or min(products) < 0:
            raise ValueError(f"products={list(products)}: expected a number for each level, 0 or more")
        at_least(0, follow=follow, push=push, memory=memory, prior_variance=prior_variance)
        above_zero(ridge=ridge)
        zero_to_one(eta=eta)
        self.direction = Newton() if direction is None else direction
        self.products = tuple(products)
        self.follow = follow
        self.push = push
        self.ridge = ridge
        self.memory = memory
        self.eta = eta
        self.prior_variance = prior_variance

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        known = require(constraint, Known)
        before: tuple[Level, Tensor] | None = None
        seen: list[Tensor] = []
        for (t, s), count in zip(pairs(levels), self.plan(len(levels) - 1), strict=True):
            x0, J = self.direction.linearize(at(denoise, t), x, t)
            seen = seen[: self.memory]
            corrected = fitted(x0, known, seen, self.ridge)
            for _ in range(count):
                seen = [J(known.error(corrected)), *seen]
                corrected = fitted(x0, known, seen, self.ridge)
            corrected = known.project(corrected)
            x = x + self.follow * t.alpha * (corrected - x0) + self.push * t.sigma * known.error(x0)
            x = onward(x, corrected, t, s, before, self.eta, randn, hidden_std(known, t, self.prior_variance))
            before = t, corrected
        return x

    def plan(self, steps: int) -> list[int]:
        """Products at each of ``steps`` levels: the profile, stretched over them."""
        return stretched(self.products, steps)

    def calls(self, steps: int) -> int:
        return steps + sum(self.plan(steps)) * self.direction.forwards

    def backwards(self, steps: int) -> int:
        return sum(self.plan(steps)) * self.direction.backwards

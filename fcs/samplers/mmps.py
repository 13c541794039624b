"""Moment matching posterior sampling: x_0 becomes the mean given x_t and y, with the denoiser's own covariance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fcs.core.arguments import above_zero, at_least, zero_to_one
from fcs.core.constraints import Constraint, Observed
from fcs.core.denoiser import Denoise
from fcs.core.directions import Direction, Gradient, LinearMap, Newton
from fcs.core.levels import Level
from fcs.core.per_sample import column, dot, safe_divide
from fcs.core.pseudo_inverse import pseudo_inverse
from fcs.samplers.base import Noise, StepSampler, at, ddim_step, require, with_eta

LEAST_ALPHA = 0.01  # at a flow's first level alpha is 0, and so is J: V = sigma^2 / alpha J would be 0 / 0


class MMPS(StepSampler):
    """``x_0 <- x_0 + V A^T (A V A^T + noise^2)^-1 (y - A x_0)``, then ancestral sampling (Rozet et al. 2024, sec. 4).

    ``V = (sigma_t^2 / alpha_t) J`` is the covariance of x_0 given x_t (Tweedie). The paper takes products with J^T
    (``direction=gradient`` here) and conjugate gradients, its authors' library one step of GMRES. By default products
    with J are forward differences, without backpropagation through the denoiser. Learnt, J is neither symmetric nor
    positive, so the system is solved in the least-squares sense over a Krylov space, for each sample by itself, and
    V A^T u is a combination of the products that were already computed. A decoder is linearised at x_0.

    Args:
        iterations: dimensions of the Krylov space, 1 or more; a product with J each. The authors' library takes 1,
            their benchmark 1 and 5 at 10, 100 and 1000 levels.
        noise: standard deviation of the measurement's noise, sigma_y, above 0.
        direction: how products with J are computed; the Newton direction if left out.
        cutoff: singular values of the small system below this part of the largest are dropped, 0 up to 1.
        eta: of the DDIM steps; 1, ancestral sampling, is that of the authors' sampler.

    Raises:
        ValueError: no iterations, a noise that is not positive, a cutoff outside [0, 1), an eta outside 0 to 1.
    """

    needs = Observed
    direction: Direction

    def __init__(
        self,
        iterations: int = 1,
        noise: float = 0.05,
        direction: Direction | None = None,
        cutoff: float = 1e-4,
        eta: float = 1.0,
    ) -> None:
        at_least(1, iterations=iterations)
        above_zero(noise=noise)
        if not 0 <= cutoff < 1:
            raise ValueError(f"cutoff={cutoff}: expected 0 or more and below 1")
        zero_to_one(eta=eta)
        self.direction = Newton() if direction is None else direction
        self.iterations = iterations
        self.noise = noise
        self.cutoff = cutoff
        self.eta = eta

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        measurement = require(constraint, Observed)
        x0, J = self.direction.linearize(at(denoise, t), x, t)
        missing, transpose = Gradient().linearize(measurement.missing, x0)  # the map is e -> -A^T e
        _, forward = Newton().linearize(measurement.missing, x0)  # and this one w -> -A w
        scale = t.sigma**2 / max(t.alpha, LEAST_ALPHA)

        def spread(u: Tensor) -> Tensor:
            return -scale * J(transpose(u))

        def system(u: Tensor, spread_u: Tensor) -> Tensor:
            return self.noise**2 * u - forward(spread_u)

        x0 = x0 + krylov(missing, spread, system, self.iterations, self.cutoff)
        return ddim_step(x, x0, t, with_eta(t, s, self.eta), randn)

    def calls(self, steps: int) -> int:
        return steps * (1 + self.iterations * self.direction.forwards)

    def backwards(self, steps: int) -> int:
        return steps * self.iterations * self.direction.backwards


def krylov(
    b: Tensor, spread: LinearMap, system: Callable[[Tensor, Tensor], Tensor], iterations: int, cutoff: float
) -> Tensor:
    """``spread(u)`` for the u of least ``|system(u, spread(u)) - b|`` in a Krylov space, for each sample (as GMRES).

    Args:
        b: ``(N, *)``; a sample of zeros gives zeros.
        spread: a linear map.
        system: a linear map of ``u``, given ``spread(u)`` too.
        iterations: dimensions of the space.
        cutoff: relative bound below which singular values are dropped.
    """
    basis: list[Tensor] = []
    spreads, products = [], []
    candidate = b
    for _ in range(iterations):
        for _ in range(2):  # once more: Gram-Schmidt loses its orthogonality in the last digits
            for q in basis:
                candidate = candidate - column(dot(q, candidate), candidate) * q
        q = safe_divide(candidate, column(dot(candidate, candidate).sqrt(), candidate))
        basis.append(q)
        spreads.append(spread(q))
        candidate = system(q, spreads[-1])
        products.append(candidate)
    Q, R = torch.linalg.qr(torch.stack([p.flatten(1) for p in products], 2))
    weights = pseudo_inverse(R, cutoff) @ (Q.mT @ b.flatten(1).unsqueeze(2))
    together = torch.stack([w.flatten(1) for w in spreads], 2) @ weights
    return together.reshape(spreads[0].shape)

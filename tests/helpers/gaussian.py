"""A Gaussian prior N(mu, C): everything that sampling approximates has a closed form here, in float64.

x_t = alpha x_0 + sigma eps
x0(x_t) = mu + J (x_t - alpha mu)
J = alpha C (alpha^2 C + sigma^2)^-1
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Coefficients = Callable[[float], tuple[float, float]]


class Gaussian:
    """The exact denoiser of N(mu, C) for rows of shape ``shape``.

    Args:
        shape: ``(C, H, W)`` of one row, D entries in all.
        covariance: ``(D, D)``; a random well-conditioned one if left out.
        seed: of mean and covariance.
    """

    def __init__(self, shape: tuple[int, ...] = (1, 4, 4), covariance: Tensor | None = None, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = torch.Size(shape).numel()
        root = torch.randn(size, size, generator=generator, dtype=torch.float64)
        self.shape = shape
        self.identity = torch.eye(size, dtype=torch.float64)
        self.mean = 0.5 * torch.randn(size, generator=generator, dtype=torch.float64)
        self.covariance = root @ root.T / size + 0.05 * self.identity if covariance is None else covariance

    def jacobian(self, alpha: float, sigma: float) -> Tensor:
        """J ``(D, D)``, symmetric: the covariance and its inverse commute."""
        C = self.covariance
        return alpha * C @ torch.linalg.inv(alpha**2 * C + sigma**2 * self.identity)

    def x0(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """E[x_0 | x_t] ``(N, *shape)``."""
        flat = x.flatten(1) - alpha * self.mean
        return (self.mean + flat @ self.jacobian(alpha, sigma).T).reshape(x.shape)

    def posterior_mean(self, A: Tensor, y: Tensor, noise: float = 0.0) -> Tensor:
        """E[x_0 | y] ``(D,)`` for ``y = A x_0 + noise z``, A ``(M, D)``."""
        innovation = A @ self.covariance @ A.T + noise**2 * torch.eye(len(A), dtype=torch.float64)
        return self.mean + self.covariance @ A.T @ torch.linalg.solve(innovation, y - A @ self.mean)

    def posterior_covariance(self, A: Tensor, noise: float = 0.0) -> Tensor:
        """Cov[x_0 | y] ``(D, D)``."""
        innovation = A @ self.covariance @ A.T + noise**2 * torch.eye(len(A), dtype=torch.float64)
        return self.covariance - self.covariance @ A.T @ torch.linalg.solve(innovation, A @ self.covariance)

    def network(self, predicts: str, coefficients: Coefficients) -> GaussianNetwork:
        """The same prior as a network that predicts eps, v or flow.

        Args:
            coefficients: ``t -> (alpha, sigma)``, what the network learnt about the number it is told.
        """
        return GaussianNetwork(self, predicts, coefficients)


class GaussianNetwork(nn.Module):
    """``(x, t, cond) -> eps | v | flow`` from the closed form; cond, if given, moves the mean."""

    def __init__(self, prior: Gaussian, predicts: str, coefficients: Coefficients) -> None:
        super().__init__()
        self.prior, self.predicts, self.coefficients = prior, predicts, coefficients

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        alpha, sigma = self.coefficients(t[0].item())
        shift = 0.0 if cond is None else cond
        x0 = self.prior.x0(x - alpha * shift, alpha, sigma) + shift
        eps = (x - alpha * x0) / sigma
        return {"eps": eps, "v": alpha * eps - sigma * x0, "flow": eps - x0}[self.predicts]

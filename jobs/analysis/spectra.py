"""The Jacobian J = d x_0 / d x_t of a denoiser at one x_t: products, entries, the largest eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs
from torch import Tensor

from fcs.core.directions import Gradient, jacobian

LinearMap = Callable[[Tensor], Tensor]
DIFFERENCES = {torch.float64: 1e-4, torch.float32: 2e-2}  # of x_t: truncation and rounding about alike
RESTARTS = 100  # of Arnoldi's, some twenty products each
NOTHING = 1e-7  # a part of J below this share of J is rounding


class Tangent:
    """J at one point, by products only.

    J v is a central difference, J^T v a backward pass.

    Args:
        f: ``x_t -> x_0`` at one level.
        x: ``(1, *)``; the analysis is made in its type.
    """

    def __init__(self, f: LinearMap, x: Tensor) -> None:
        self.f, self.x = f, x
        self.difference = DIFFERENCES[x.dtype]
        with torch.no_grad():
            self.x0, self._transposed = Gradient().linearize(f, x)

    @torch.no_grad()
    def times(self, v: Tensor) -> Tensor:
        """``J v`` ``(1, *)``; exact up to the square of the difference."""
        largest = v.abs().max()
        if largest == 0:
            return torch.zeros_like(v)
        h = self.difference / largest
        return (self.f(self.x + h * v) - self.f(self.x - h * v)) / (2 * h)

    def transposed(self, v: Tensor) -> Tensor:
        """``J^T v`` ``(1, *)``."""
        return self._transposed(v)

    def symmetric(self, v: Tensor) -> Tensor:
        """``(J + J^T) v / 2``."""
        return (self.times(v) + self.transposed(v)) / 2

    def skew(self, v: Tensor) -> Tensor:
        """``(J - J^T) v / 2``."""
        return (self.times(v) - self.transposed(v)) / 2

    def matrix(self) -> Tensor:
        """J itself ``(D, D)``, by a backward pass an entry."""
        return jacobian(self.f, self.x)[0].detach()


def largest(apply: LinearMap, like: Tensor, count: int, scale: float = 1.0, seed: int = 0) -> list[float]:
    """The largest absolute values of eigenvalues of a linear map, by Arnoldi, largest first.

    Args:
        apply: the map on ``(1, *)``.
        like: a tensor of the shape and type it takes.
        count: how many, at most the number of entries minus 2; fewer are found where Arnoldi does not converge.
        scale: what the map's size is held against: far below it, it is taken for zero.
        seed: of the start.
    """
    start = np.random.default_rng(seed).standard_normal(like.numel())

    def product(v: np.ndarray) -> np.ndarray:
        out = apply(torch.from_numpy(np.ascontiguousarray(v)).to(like).reshape(like.shape))
        return out.double().cpu().numpy().ravel()

    if np.linalg.norm(product(start)) <= NOTHING * scale * np.linalg.norm(start):
        return [0.0] * count  # Arnoldi has nothing to start from
    operator = LinearOperator((start.size, start.size), matvec=product, dtype=np.float64)
    try:
        found = eigs(operator, count, which="LM", v0=start, tol=1e-4, maxiter=RESTARTS, return_eigenvectors=False)
    except ArpackNoConvergence as error:
        found = error.eigenvalues
        if not len(found):
            raise
    return sorted(np.abs(found).tolist(), reverse=True)


def spectra(tangent: Tangent, count: int, seed: int = 0) -> dict[str, list[float]]:
    """The largest absolute eigenvalues of J, of its symmetric and of its skew-symmetric part."""
    whole = largest(tangent.times, tangent.x, count, seed=seed)
    scale = max(whole, default=1.0)
    return {
        "J": whole,
        "symmetric": largest(tangent.symmetric, tangent.x, count, scale, seed),
        "skew": largest(tangent.skew, tangent.x, count, scale, seed),
    }


def probes(tangent: Tangent, count: int, seed: int = 0) -> Tensor:
    """``<u_i, J u_j>`` ``(count, count)`` for random unit u: a look at J from random sides, symmetric where J is."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, tangent.x.numel(), generator=generator, dtype=torch.float64).to(tangent.x)
    u = drawn / drawn.norm(dim=1, keepdim=True)
    images = torch.stack([tangent.times(v.reshape(tangent.x.shape)).flatten() for v in u])
    return u @ images.T


def mirrored(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The entries above the diagonal, row by row, and each one's mirror image."""
    above = torch.triu_indices(len(matrix), len(matrix), 1, device=matrix.device)
    return matrix[above[0], above[1]], matrix[above[1], above[0]]


def asymmetry(first: Tensor, second: Tensor) -> float:
    """``|a - b| / |a + b|`` of entries and their mirror images: 0 where J is symmetric, 1 where they are unrelated."""
    return ((first - second).norm() / (first + second).norm()).item()


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors; 0 where one is zero."""
    return torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()

"""Pseudo-inverse of many small matrices at once, without waiting for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.per_sample import safe_divide

SWEEPS = 8  # over all pairs of columns; convergence is quadratic, for up to ten columns five or six reach rounding


def pseudo_inverse(R: Tensor, cutoff: float) -> Tensor:
    """The pseudo-inverse of each matrix of ``(N, m, k)`` with m >= k, ``(N, k, m)``.

    By one-sided Jacobi rotations (Hestenes 1958). torch's own looks at the outcome of a decomposition, for which the
    host has to wait; this one is a fixed number of products, few where there are few columns.

    Args:
        R: the matrices.
        cutoff: singular values up to this part of the largest are dropped.
    """
    columns = list(R.unbind(2))
    turned = list(torch.eye(R.shape[2], dtype=R.dtype, device=R.device).expand(len(R), -1, -1).unbind(2))
    for _ in range(SWEEPS):
        for p in range(len(columns)):
            for q in range(p + 1, len(columns)):
                cosine, sine = _rotation(columns[p], columns[q])
                for pair in (columns, turned):
                    pair[p], pair[q] = cosine * pair[p] - sine * pair[q], sine * pair[p] + cosine * pair[q]
    U, V = torch.stack(columns, 2), torch.stack(turned, 2)
    singular = torch.linalg.vector_norm(U, dim=1, keepdim=True)
    kept = singular * (singular > cutoff * singular.amax(2, keepdim=True))
    return safe_divide(V, kept) @ safe_divide(U, kept).mT


def _rotation(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``(N, 1)`` of the rotation that makes two columns ``(N, m)`` orthogonal."""
    a, b, c = (p * p).sum(1, keepdim=True), (q * q).sum(1, keepdim=True), (p * q).sum(1, keepdim=True)
    zeta = safe_divide(b - a, 2 * c)
    tangent = torch.where(zeta < 0, -1.0, 1.0) / (zeta.abs() + (1 + zeta.square()).sqrt())
    tangent = torch.where(c == 0, torch.zeros_like(c), tangent)
    cosine = 1 / (1 + tangent.square()).sqrt()
    return cosine, cosine * tangent

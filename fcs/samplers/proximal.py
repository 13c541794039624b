"""The step of proximal methods: the nearest picture that meets the measurement, encoded again."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.constraints import Known, Measured, Observed
from fcs.core.per_sample import column, dot, safe_divide
from fcs.samplers.base import require
from fcs.samplers.prior import Prior


def proximal(x0: Tensor, constraint: Observed, prior: Prior, weight: float, iterations: int) -> Tensor:
    """``E(argmin_x |y - A x|^2 / 2 + weight |x - D(x0)|^2 / 2)``.

    Where entries of the model's own space are known, A is the mask there, and the minimum in that space is decoded and
    encoded again.

    Args:
        x0: ``(N, *)`` in the model's space.
        constraint: ``Known`` or ``Measured``.
        prior: for its codec.
        weight: of ``x0`` against the measurement, above 0.
        iterations: conjugate gradients for the inverse of ``A A^T + weight``; one is exact where that is a multiple
            of 1.

    Raises:
        TypeError: a constraint that is neither ``Known`` nor ``Measured``.
    """
    if isinstance(constraint, Known):
        return prior.reencode(x0 + constraint.error(x0) / (constraint.known + weight))
    measured = require(constraint, Measured)
    picture = prior.decode(x0)
    r = measured.target - measured.operator(picture)
    # The minimum is D + A^T u with (A A^T + weight) u = y - A D, by conjugate gradients.
    u, p, before = torch.zeros_like(r), r, dot(r, r)
    for _ in range(iterations):
        q = measured.operator(measured.transpose(p, picture)) + weight * p
        step = safe_divide(column(before, p), column(dot(p, q), p))
        u, r = u + step * p, r - step * q
        after = dot(r, r)
        p = r + safe_divide(column(after, p), column(before, p)) * p
        before = after
    return prior.encode(picture + measured.transpose(u, picture))

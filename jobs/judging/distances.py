"""Distances between two sets of pictures in fixed features: KID with its error, and FID; in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import polynomial_kernel

Array = NDArray[np.float64]
PER_DIMENSION = 20  # pictures for each dimension of a covariance that is to be trusted
MOST = 64  # dimensions with fewer


def kid(made: Array, reference: Array) -> tuple[float, float]:
    """The unbiased squared MMD under ``(x y / F + 1)^3`` (Binkowski et al. 2018), and its standard error.

    The error is the jackknife's over both sets; what seeds add is not in it.

    Args:
        made: features ``(M, F)``.
        reference: features ``(N, F)``.

    Raises:
        ValueError: fewer than three pictures in a set.
    """
    if min(len(made), len(reference)) < 3:
        raise ValueError(f"{len(made)} and {len(reference)} pictures: expected 3 or more")
    across = polynomial_kernel(made, reference, degree=3)
    m, n = across.shape
    within_made, rows_made = _off_diagonal(polynomial_kernel(made, degree=3))
    within_reference, rows_reference = _off_diagonal(polynomial_kernel(reference, degree=3))
    cross = across.sum()
    mean_made = within_made / (m * (m - 1))
    mean_reference = within_reference / (n * (n - 1))
    value = mean_made + mean_reference - 2 * cross / (m * n)
    # The same with one picture left out, for each picture.
    less_made = (within_made - 2 * rows_made) / ((m - 1) * (m - 2))
    without_made = less_made + mean_reference - 2 * (cross - across.sum(1)) / ((m - 1) * n)
    less_reference = (within_reference - 2 * rows_reference) / ((n - 1) * (n - 2))
    without_reference = mean_made + less_reference - 2 * (cross - across.sum(0)) / (m * (n - 1))
    variance = (m - 1) * without_made.var() + (n - 1) * without_reference.var()
    return float(value), float(variance**0.5)


def _off_diagonal(kernel: Array) -> tuple[float, Array]:
    """Sum of a kernel matrix without its diagonal, and of each row."""
    rows = kernel.sum(1) - np.diag(kernel)
    return float(rows.sum()), rows


def fid(made: Array, reference: Array) -> tuple[float, int]:
    """Frechet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017), and its dimensions.

    With fewer than 20 pictures a dimension both are projected on the reference's first 64 principal components.
    """
    size = reference.shape[1]
    if min(len(made), len(reference)) < PER_DIMENSION * size:
        components = PCA(min(size, MOST, len(reference)), svd_solver="full").fit(reference)
        made, reference = components.transform(made), components.transform(reference)
    first, second = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (made, reference))
    return frechet(made.mean(0), first, reference.mean(0), second), made.shape[1]


def frechet(mean: Array, covariance: Array, other_mean: Array, other_covariance: Array) -> float:
    """``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))`` by eigenvalues of symmetric matrices: C may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * values.clip(0) ** 0.5) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root).clip(0) ** 0.5
    apart = np.square(mean - other_mean).sum()
    return float(apart + np.trace(covariance) + np.trace(other_covariance) - 2 * mixed.sum())

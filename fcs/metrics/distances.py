"""Distances between two sets of pictures in fixed features: KID with its error, and FID; in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PER_DIMENSION = 20  # pictures for each dimension of a covariance that is to be trusted
MOST = 64  # dimensions with fewer
RANK = 1e-10  # of the largest eigenvalue; those below are rounding
BLOCK = 1024  # rows of a kernel matrix that are in memory at once


@dataclass(frozen=True)
class FeatureMoments:
    """What FID needs of a set of features; those of two sets add up to those of both.

    Attributes:
        n: how many pictures.
        mean: ``(F,)``.
        scatter: ``(F, F)``, the sum of the outer products of what is left without the mean.
    """

    n: int
    mean: Array
    scatter: Array

    @classmethod
    def of(cls, features: Array) -> FeatureMoments:
        """Of features ``(N, F)``."""
        features = np.asarray(features, np.float64)
        if not len(features):
            return cls(0, np.zeros(features.shape[1]), np.zeros((features.shape[1],) * 2))
        mean = features.mean(0)
        return cls(len(features), mean, (features - mean).T @ (features - mean))

    def __add__(self, other: FeatureMoments) -> FeatureMoments:
        """Of both sets, by the pairwise update of Chan, Golub and LeVeque 1979."""
        if not self.n or not other.n:
            return self if self.n else other
        n, apart = self.n + other.n, other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(apart, apart) * (self.n * other.n / n)
        return FeatureMoments(n, self.mean + apart * (other.n / n), scatter)

    @property
    def covariance(self) -> Array:
        """``(F, F)``, unbiased."""
        return self.scatter / (self.n - 1)

    def along(self, directions: Array) -> FeatureMoments:
        """Of the features' components along orthonormal directions ``(F, D)``."""
        return FeatureMoments(self.n, self.mean @ directions, directions.T @ self.scatter @ directions)


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
    m, n = len(made), len(reference)
    cross_made, cross_reference = _sums(made, reference)
    rows_made, rows_reference = _without_itself(made), _without_itself(reference)
    within_made, within_reference, cross = rows_made.sum(), rows_reference.sum(), cross_made.sum()
    mean_made = within_made / (m * (m - 1))
    mean_reference = within_reference / (n * (n - 1))
    value = mean_made + mean_reference - 2 * cross / (m * n)
    # The same with one picture left out, for each picture.
    less_made = (within_made - 2 * rows_made) / ((m - 1) * (m - 2))
    without_made = less_made + mean_reference - 2 * (cross - cross_made) / ((m - 1) * n)
    less_reference = (within_reference - 2 * rows_reference) / ((n - 1) * (n - 2))
    without_reference = mean_made + less_reference - 2 * (cross - cross_reference) / (m * (n - 1))
    variance = (m - 1) * without_made.var() + (n - 1) * without_reference.var()
    return float(value), float(variance**0.5)


def _without_itself(features: Array) -> Array:
    """Sum of a picture's kernel with all others of its set, ``(N,)``."""
    rows, _ = _sums(features, features)
    own = np.square(features).sum(1) / features.shape[1]
    return rows - (own + 1) ** 3


def _sums(first: Array, second: Array) -> tuple[Array, Array]:
    """Row and column sums of the kernel matrix of two sets, a block of rows at a time."""
    rows, columns = np.zeros(len(first)), np.zeros(len(second))
    for start in range(0, len(first), BLOCK):
        kernel = (first[start : start + BLOCK] @ second.T / first.shape[1] + 1) ** 3
        rows[start : start + BLOCK] = kernel.sum(1)
        columns += kernel.sum(0)
    return rows, columns


def fid(made: FeatureMoments, reference: FeatureMoments) -> tuple[float, int]:
    """Frechet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017), and its dimensions.

    With fewer than 20 pictures a dimension both are projected on the reference's first 64 principal components, or as
    many as it has.

    Raises:
        ValueError: fewer than two pictures in a set.
    """
    if min(made.n, reference.n) < 2:
        raise ValueError(f"{made.n} and {reference.n} pictures: expected 2 or more")
    if not enough(made, reference):
        values, directions = np.linalg.eigh(reference.covariance)
        there = int((values > values[-1] * RANK).sum())  # what lies beside the pictures' span has no axes of its own
        chosen = directions[:, ::-1][:, : min(MOST, there)]
        made, reference = made.along(chosen), reference.along(chosen)
    return frechet(made.mean, made.covariance, reference.mean, reference.covariance), len(made.mean)


def enough(made: FeatureMoments, reference: FeatureMoments) -> bool:
    """Whether both sets have 20 pictures for each dimension of their features."""
    return min(made.n, reference.n) >= PER_DIMENSION * len(made.mean)


def told(made: FeatureMoments, reference: FeatureMoments) -> Iterator[str]:
    """What is to be known of an FID of sets that are small for it."""
    least, size = min(made.n, reference.n), len(made.mean)
    if not enough(made, reference) and size > MOST:
        yield (
            f"{least} pictures are few for the {size} dimensions of FID ({PER_DIMENSION * size} would do): on the "
            f"reference's first {MOST} principal components, to be compared at equal n and reference only"
        )
    if least < PER_DIMENSION * min(size, MOST):
        yield f"FID of {least} pictures moves by several percent with the seed"


def frechet(mean: Array, covariance: Array, other_mean: Array, other_covariance: Array) -> float:
    """``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))`` by eigenvalues of symmetric matrices: C may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * values.clip(0) ** 0.5) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root).clip(0) ** 0.5
    apart = np.square(mean - other_mean).sum()
    return float(apart + np.trace(covariance) + np.trace(other_covariance) - 2 * mixed.sum())

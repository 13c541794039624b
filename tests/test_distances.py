"""KID and FID against their definitions and closed forms; what sets of results are held against."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA

from fcs.metrics.distances import FeatureMoments, fid, frechet, kid, told


def normal(seed: int, n: int, size: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    return mean + scale * np.random.default_rng(seed).standard_normal((n, size))


def mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, by loops."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        return sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kid_by_its_definition_and_its_error_by_the_jackknife() -> None:
    x, y = normal(0, 6, 3), normal(1, 5, 3, 0.5, 0.2)
    value, error = kid(x, y)
    assert value == pytest.approx(mmd(x, y))
    left_out = [[mmd(np.delete(x, i, 0), y) for i in range(6)], [mmd(x, np.delete(y, i, 0)) for i in range(5)]]
    expected = sum((len(values) - 1) * np.var(values) for values in left_out) ** 0.5
    assert error == pytest.approx(expected)
    with pytest.raises(ValueError, match="expected 3 or more"):
        kid(x[:2], y)


def test_kid_in_the_mean_is_that_of_the_distributions() -> None:
    # One dimension: (xy + 1)^3 compares third, second and first moments, 1, 3 and 3 times.
    scale, mean = 0.7, 0.4
    true = 1 * (mean**3 + 3 * mean * scale**2) ** 2 + 3 * (scale**2 + mean**2 - 1) ** 2 + 3 * mean**2
    found = [kid(normal(2 * i, 60, 1, scale, mean), normal(2 * i + 1, 90, 1)) for i in range(200)]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(true, abs=4 * values.std() / 200**0.5)
    assert errors.mean() == pytest.approx(values.std(), rel=0.3)


def test_frechet_distance_in_closed_form() -> None:
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 1.0, 2.0])
    expected = 5 + np.square(a**0.5 - b**0.5).sum()  # covariances that commute
    assert frechet(np.zeros(3), np.diag(a), np.array([1.0, 2.0, 0]), np.diag(b)) == pytest.approx(expected)
    first, second = (np.cov(normal(seed, 50, 4), rowvar=False) for seed in (0, 1))
    expected = np.trace(first + second - 2 * sqrtm(first @ second)).real
    assert frechet(np.zeros(4), first, np.zeros(4), second) == pytest.approx(expected)


def test_fid_takes_as_many_dimensions_as_the_pictures_can_carry() -> None:
    few, many = normal(0, 100, 80), normal(1, 300, 80)
    assert fid(FeatureMoments.of(few), FeatureMoments.of(many))[1] == 64
    enough = normal(0, 60, 3, 2.0), normal(1, 80, 3)
    distance, dimensions = fid(*map(FeatureMoments.of, enough))
    assert dimensions == 3
    moments = [part for features in enough for part in (features.mean(0), np.cov(features, rowvar=False))]
    assert distance == pytest.approx(frechet(*moments))
    assert fid(FeatureMoments.of(many), FeatureMoments.of(many))[0] == pytest.approx(0, abs=1e-4)


def test_few_pictures_are_compared_along_the_principal_components_of_the_reference() -> None:
    made, reference = normal(0, 90, 80, 2.0), normal(1, 300, 80) * np.linspace(1, 3, 80)
    components = PCA(64, svd_solver="full").fit(reference)
    projected = [FeatureMoments.of(components.transform(features)) for features in (made, reference)]
    distance, _ = fid(FeatureMoments.of(made), FeatureMoments.of(reference))
    assert distance == pytest.approx(fid_of_all(*projected))


def fid_of_all(made: FeatureMoments, reference: FeatureMoments) -> float:
    return frechet(made.mean, made.covariance, reference.mean, reference.covariance)


def test_moments_of_pieces_are_those_of_the_whole() -> None:
    features = normal(0, 1000, 16, 3.0, 100.0)
    pieces = np.split(features, [0, 1, 7, 300, 301, 302, 900])
    whole, merged = FeatureMoments.of(features), reduce(FeatureMoments.__add__, map(FeatureMoments.of, pieces))
    assert merged.n == whole.n
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(merged.covariance, np.cov(features, rowvar=False), rtol=1e-10, atol=1e-10)


def test_what_is_told_of_small_sets() -> None:
    many, few, tiny = (FeatureMoments.of(normal(0, n, 4)) for n in (80, 79, 3))
    assert list(told(many, many)) == []
    assert list(told(many, few)) == ["FID of 79 pictures moves by several percent with the seed"]
    wide = FeatureMoments.of(normal(0, 1500, 80))
    assert [text.split(":")[0] for text in told(wide, wide)] == [
        "1500 pictures are few for the 80 dimensions of FID (1600 would do)"
    ]
    assert fid(tiny, many)[1] == 4
    with pytest.raises(ValueError, match="expected 2 or more"):
        fid(FeatureMoments.of(normal(0, 1, 4)), many)

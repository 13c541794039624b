"""The analysis on a Gaussian prior, whose Jacobian is known: products, eigenvalues, symmetry, contraction."""

from __future__ import annotations

import json
from pathlib import Path

import convergence
import jacobian
import pytest
import torch
from analysis.points import Point, Subject
from analysis.spectra import Tangent, asymmetry, cosine, largest, mirrored, probes, spectra
from analysis.views import edited, grid, response, with_square
from helpers.gaussian import Gaussian
from torch import Tensor

from fcs.core.collate import collate
from fcs.core.constraints import Known
from fcs.core.directions import Gradient, Newton
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.records import Record
from fcs.models import Model

LEVEL = Level(500.0, 0.6, 0.8)


@pytest.fixture
def J(gaussian: Gaussian) -> Tensor:
    return gaussian.jacobian(LEVEL.alpha, LEVEL.sigma)


@pytest.fixture
def x(gaussian: Gaussian) -> Tensor:
    return torch.randn(1, *gaussian.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture
def tangent(gaussian: Gaussian, x: Tensor) -> Tangent:
    return Tangent(lambda x: gaussian.x0(x, LEVEL.alpha, LEVEL.sigma), x)


def turned(matrix: Tensor) -> Tangent:
    """The tangent of a linear map that need not be symmetric."""
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    return Tangent(lambda x: (x.flatten(1) @ matrix.T).reshape(x.shape), x)


@pytest.fixture
def uneven() -> Tensor:
    return torch.randn(16, 16, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_products_are_those_of_the_matrix(uneven: Tensor, x: Tensor) -> None:
    tangent = turned(uneven)
    torch.testing.assert_close(tangent.times(x).flatten(), uneven @ x.flatten(), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(tangent.transposed(x).flatten(), uneven.T @ x.flatten())
    torch.testing.assert_close(tangent.matrix(), uneven)
    assert not tangent.times(torch.zeros_like(x)).any()


def test_eigenvalues_by_arnoldi(tangent: Tangent, J: Tensor) -> None:
    found = spectra(tangent, 5)
    true = torch.linalg.eigvalsh(J).flip(0)[:5].tolist()
    assert found["J"] == pytest.approx(true, rel=1e-5)
    assert found["symmetric"] == pytest.approx(true, rel=1e-5)
    assert found["skew"] == [0] * 5  # J is symmetric


def test_eigenvalues_of_a_matrix_that_is_not_symmetric(uneven: Tensor) -> None:
    found = spectra(turned(uneven), 4)
    for part, matrix in {"J": uneven, "symmetric": (uneven + uneven.T) / 2, "skew": (uneven - uneven.T) / 2}.items():
        true = torch.linalg.eigvals(matrix).abs().sort(descending=True).values[:4].tolist()
        assert found[part] == pytest.approx(true, rel=1e-3), part


def test_symmetry_of_probes_and_entries(tangent: Tangent, uneven: Tensor) -> None:
    assert asymmetry(*mirrored(probes(tangent, 10))) < 1e-6
    assert asymmetry(*mirrored(tangent.matrix())) < 1e-12
    first, second = mirrored(uneven)
    above = [(i, j) for i in range(16) for j in range(i + 1, 16)]
    assert first.tolist() == [uneven[i, j].item() for i, j in above]
    assert second.tolist() == [uneven[j, i].item() for i, j in above]
    assert 0.5 < asymmetry(first, second) < 2
    assert 0.5 < asymmetry(*mirrored(probes(turned(uneven), 40))) < 2


def test_one_entry_answers_with_its_column_and_row(uneven: Tensor) -> None:
    tangent = turned(uneven)
    column, row = response(tangent)
    torch.testing.assert_close(column.flatten(), uneven[:, 2 * 4 + 2].abs(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(row.flatten(), uneven[2 * 4 + 2].abs())


def point(gaussian: Gaussian, x: Tensor, target: Tensor, known: Tensor | None = None) -> Point:
    constraint = Known(target, torch.ones_like(x) if known is None else known)
    return Point(0, LEVEL, x, lambda x: gaussian.x0(x, LEVEL.alpha, LEVEL.sigma), constraint)


def test_directions_of_a_symmetric_jacobian(gaussian: Gaussian, x: Tensor, tangent: Tangent, J: Tensor) -> None:
    known = torch.zeros_like(x)
    known[..., :2] = 1
    at = point(gaussian, x, torch.zeros_like(x), known)
    found = jacobian.directions(at, tangent, tangent.matrix())
    torch.testing.assert_close(found["J e"].flatten(), J @ found["e"].flatten(), rtol=1e-6, atol=1e-8)
    cosines = jacobian.cosines(found)
    assert len(cosines) == 10
    assert cosines["J e | J^T e"] == pytest.approx(1)
    assert cosines["J e | J e, difference"] == pytest.approx(1)
    assert cosines["J^-1 e | e"] == pytest.approx(cosine(found["J^-1 e"], found["e"]))
    assert "J^-1 e | e" not in jacobian.cosines(jacobian.directions(at, tangent, None))


@pytest.mark.parametrize("product", [0.5, 1.5, 2.5])
def test_an_error_along_an_eigenvector_contracts(gaussian: Gaussian, x: Tensor, J: Tensor, product: float) -> None:
    values, vectors = torch.linalg.eigh(J)
    mu, v = values[-1].item(), vectors[:, -1].reshape(x.shape)
    at = point(gaussian, x, gaussian.x0(x, LEVEL.alpha, LEVEL.sigma) + v)
    curve = convergence.fixed(at, 4, product / mu**2)
    assert curve == pytest.approx([abs(1 - product) ** k for k in range(5)], rel=1e-6)
    assert largest(Tangent(at.f, x).times, x, 1)[0] == pytest.approx(mu, rel=1e-5)
    studied = convergence.studied(at, [2, 3], [product], 0.5)
    assert studied["curves"]["3"][f"lambda mu^2 = {product:g}"] == pytest.approx(curve[:4], rel=1e-4)
    assert len(studied["curves"]["2"]["inf-norm step"]) == 3


def test_a_step_of_the_inf_norm(gaussian: Gaussian, x: Tensor, J: Tensor) -> None:
    at = point(gaussian, x, torch.zeros_like(x))
    e = at.constraint.error(at.f(x)).flatten()
    d = J @ e
    expected = (e - 0.3 * J @ d / d.abs().max()).norm() / e.norm()
    assert convergence.dynamic(at, [0.3]) == pytest.approx([1, expected.item()], rel=1e-6)


def test_curves_end_where_they_diverge_and_means_are_over_records() -> None:
    one = {"t": 1.0, "curves": {"2": {"a": [1.0, 0.5, 0.25]}}}
    two = {"t": 1.0, "curves": {"2": {"a": [1.0, 1.5]}}}
    assert convergence.means([one, two]) == {"t=1, K=2": {"a": [1.0, 1.0]}}


def test_a_met_constraint_has_no_error(gaussian: Gaussian, x: Tensor) -> None:
    at = point(gaussian, x, gaussian.x0(x, LEVEL.alpha, LEVEL.sigma))
    assert convergence.dynamic(at, [0.5]) == [1, 0]


def on_black(model: Model) -> Subject:
    picture = torch.zeros(model.picture_shape, dtype=torch.uint8)
    batch = collate("s", 0, [Record(0, "a", picture)], model.picture_shape, 0)
    return Subject(model, [batch], [], torch.float32)


def test_a_square_in_a_grid(digits: Model, latent_model: Model) -> None:
    for model in (digits, latent_model):
        plain = grid(model.picture_shape)
        assert set(plain.unique().tolist()) == {-1.0, 1.0}
        changed = (with_square(plain) != plain).any(1)[0]
        assert 0 < changed.sum() <= changed.numel() / 16
        subject = on_black(model)
        made = [edited(subject, subject.level(800), direction) for direction in (Newton(), Gradient())]
        assert all(one.shape == (1, *model.picture_shape) and one.isfinite().all() for one in made)
        assert not torch.equal(made[0], made[1])


def run(job: object, *given: str) -> None:
    args, overrides = job.parser().parse_known_args(list(given))  # type: ignore[attr-defined]
    job.run(args, overrides)  # type: ignore[attr-defined]


def test_both_jobs_on_a_latent_model(tmp_path: Path, tiny_sd: Path) -> None:
    common = ("--model", str(tiny_sd), "--config", "emoji_half", "--levels", "700", "--records", "2")
    run(jacobian, *common, "--count", "2", "--out", str(tmp_path / "j"))
    made = json.loads((tmp_path / "j" / "jacobian.json").read_text())
    assert [(one["t"], one["record"]) for one in made["points"]] == [(700, 0), (700, 1)]
    assert not made["formed"]
    assert all(len(one["eigenvalues"]["skew"]) == 2 for one in made["points"])
    names = {"jacobian.json", "symmetry.png", "eigenvalues.png", "cosines.png", "responses.png", "square.png"}
    assert {path.name for path in (tmp_path / "j").iterdir()} == names
    run(convergence, *common, "--moves", "2", "--products", "0.5", "--out", str(tmp_path / "c"))
    made = json.loads((tmp_path / "c" / "convergence.json").read_text())
    assert list(made["means"]) == ["t=700, K=2"]
    assert (tmp_path / "c" / "convergence.png").stat().st_size > 0


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--config"):
        run(jacobian, "--model", "nobody/nothing", "--out", str(tmp_path / "o"))
    with pytest.raises(UsageError, match="--levels=x: expected numbers"):
        run(convergence, "--levels", "x", "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o").exists()

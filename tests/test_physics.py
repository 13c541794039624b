"""Operators of other packages: linear ones only, with their own noise, and with measurements that are no pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.batches import batch, images
from torch import Tensor, nn

import fcs
from fcs.core.errors import UsageError
from fcs.core.operators import Operator
from fcs.core.operators.linearity import check_linear
from fcs.models import Model
from fcs.tasks import Restore


class Noise(nn.Module):
    """Gaussian noise, from torch's own generator or from one that it is given."""

    def __init__(self, sigma: float, rng: torch.Generator | None = None) -> None:
        super().__init__()
        self.rng = rng
        self.register_buffer("sigma", torch.tensor(sigma))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.empty_like(x).normal_(generator=self.rng)


class Physics(nn.Module):
    """A matrix on flat pictures, in deepinv's vocabulary."""

    def __init__(self, size: int, noise: nn.Module | None = None) -> None:
        super().__init__()
        self.noise_model = noise
        self.register_buffer("matrix", torch.randn(40, size, generator=torch.Generator().manual_seed(0)) / 40)

    def A(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.T

    def A_adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.matrix).reshape(len(y), *SHAPE)

    def A_dagger(self, y: Tensor) -> Tensor:
        return (y @ torch.linalg.pinv(self.matrix).T).reshape(len(y), *SHAPE)


class Magnitude(Physics):
    def A(self, x: Tensor) -> Tensor:
        return super().A(x).square()


class Shifted(Physics):
    def A(self, x: Tensor) -> Tensor:
        return super().A(x) + 1


class WrongTranspose(Physics):
    def A_adjoint(self, y: Tensor) -> Tensor:
        return 2 * super().A_adjoint(y)


class Several(Physics):
    def A(self, x: Tensor) -> list[Tensor]:  # type: ignore[override]
        return [super().A(x)]


SHAPE = (1, 16, 16)


@pytest.fixture(scope="module")
def digits() -> Model:
    return fcs.load("digits-16", device="cpu")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Magnitude, "a linear operator"),
        (Shifted, "a linear operator"),
        (WrongTranspose, "A's transpose"),
        (Several, "not list"),
    ],
)
def test_what_is_not_linear_is_refused_at_the_start(kind: type[Physics], expected: str, digits: Model) -> None:
    operator = kind(256)
    assert isinstance(operator, Operator)
    with pytest.raises(UsageError, match=f"task.operator={kind.__name__}: expected .*{expected}"):
        Restore(operator, degrade=True).prepare(digits)  # type: ignore[arg-type]


def test_what_has_no_transpose_is_refused_by_what_it_lacks(digits: Model) -> None:
    class Haze:
        def A(self, x: Tensor) -> Tensor:
            return x

        A_dagger = A

    with pytest.raises(UsageError, match=r"operator=Haze: expected a linear operator, .*; this has no A_adjoint$"):
        fcs.restore(digits, np.zeros((16, 16), np.uint8), Haze(), progress=False)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="operator=5: expected an Operator or the name of one"):
        fcs.restore(digits, np.zeros((16, 16), np.uint8), 5, progress=False)  # type: ignore[arg-type]


def test_pictures_that_an_operator_cannot_measure_are_named() -> None:
    with pytest.raises(UsageError, match="one for pictures of 3x8x8"):
        check_linear(Physics(256), (3, 8, 8))  # type: ignore[arg-type]
    check_linear(Physics(256), SHAPE)  # type: ignore[arg-type]


@pytest.mark.parametrize("own", [False, True])
def test_noise_is_drawn_from_the_model_by_record(digits: Model, own: bool) -> None:
    noise = Noise(0.2, torch.Generator() if own else None)
    task = Restore(Physics(256, noise), degrade=True)  # type: ignore[arg-type]
    task.prepare(digits)
    given, state = batch(images(4, 16)[:, :1]), torch.get_rng_state()
    constraint = task.constraint(given, digits)
    assert torch.equal(torch.get_rng_state(), state)
    clean = task.operator.A(given.images.float() / 127.5 - 1)
    spread = (constraint.target - clean).std(1)  # type: ignore[attr-defined]
    assert spread.tolist() == pytest.approx([0.2] * 4, rel=0.4)
    assert constraint.noise.tolist() == pytest.approx([0.2] * 4, rel=0.4)  # type: ignore[attr-defined]
    alone = task.constraint(given.part(2, 3), digits).target  # type: ignore[attr-defined]
    assert torch.allclose(alone[0], constraint.target[2], atol=1e-5)  # type: ignore[attr-defined]
    for options in ({"noise": 0.1}, {"paste": True}):
        with pytest.raises(UsageError, match="noise_model"):
            Restore(Physics(256, noise), degrade=True, **options).prepare(digits)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["tensor", "array", "list", "one", "npy", "pt"])
def test_measurements_are_taken(form: str, digits: Model, tmp_path: Path) -> None:
    operator, truth = Physics(256), images(2, 16)[:, :1].float() / 127.5 - 1
    y = operator.A(truth)
    np.save(tmp_path / "y.npy", y.numpy())
    torch.save(y, tmp_path / "y.pt")
    forms = {"tensor": y, "array": y.numpy(), "list": list(y), "one": y[0]}
    found = fcs.restore(digits, forms.get(form, tmp_path / f"y.{form}"), operator, steps=1, progress=False)  # type: ignore[arg-type]
    assert len(found.images) == (1 if form == "one" else 2)
    assert found.images[0].size == (16, 16)
    assert found.metrics[0]["psnr"] is None


def test_measurements_that_do_not_fit_are_refused(digits: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.zeros((1, 40), np.int64))
    for image, expected in (
        (torch.zeros(1, 41), r"finite numbers \(N, 40\)"),
        (torch.full((1, 40), torch.nan), "finite numbers"),
        (tmp_path / "none.npy", "No such file"),
        (tmp_path / "whole.npy", "one float tensor, not ndarray"),
    ):
        with pytest.raises(ValueError, match=expected):
            fcs.restore(digits, image, Physics(256), steps=1, progress=False)  # type: ignore[arg-type]

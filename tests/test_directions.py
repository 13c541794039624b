"""Directions F(J, e): equal to their closed forms where J is known."""

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor

from fcs.core.directions import Direction, Exact, Gradient, Local, Newton, jacobian

LEVELS = [(0.07, 0.9975), (0.5, 0.75**0.5), (0.99, 0.0199**0.5)]
ALL = [Newton(), Newton(central=True), Gradient(), Local(), Exact(), Exact(0)]
TIGHT = {"rtol": 0, "atol": 1e-10}


def rows(seed: int, n: int = 3, size: int = 4) -> Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apply(J: Tensor, e: Tensor) -> Tensor:
    return (e.flatten(1) @ J.T).reshape(e.shape)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_closed_forms_on_a_gaussian_prior(gaussian: Gaussian, alpha: float, sigma: float) -> None:
    x, e, J = rows(0), rows(1), gaussian.jacobian(alpha, sigma)

    def f(x: Tensor) -> Tensor:
        return gaussian.x0(x, alpha, sigma)

    expected = {Newton(): J, Gradient(): J.T, Local(): gaussian.identity, Exact(0): torch.linalg.inv(J)}
    for direction, F in expected.items():
        value, linear = direction.linearize(f, x)
        torch.testing.assert_close(value, f(x), **TIGHT)
        torch.testing.assert_close(linear(e), apply(F, e), **TIGHT)
    torch.testing.assert_close(jacobian(f, x), J.expand(3, 16, 16), **TIGHT)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_exact_drops_small_singular_values(gaussian: Gaussian, alpha: float, sigma: float) -> None:
    x, e, J = rows(0), rows(1), gaussian.jacobian(alpha, sigma)
    # A Gaussian's J is symmetric and positive: its eigenvalues are its singular values.
    values, vectors = torch.linalg.eigh((J + J.T) / 2)
    cutoff = ((values[7] + values[8]) / 2 / values[-1]).item()  # drops half of them at every level
    kept = values > cutoff * values[-1]
    inverse = vectors[:, kept] @ torch.diag(1 / values[kept]) @ vectors[:, kept].T
    _, linear = Exact(cutoff).linearize(lambda x: gaussian.x0(x, alpha, sigma), x)
    torch.testing.assert_close(linear(e), apply(inverse, e), **TIGHT)


def test_newton_is_j_and_gradient_is_its_transpose() -> None:
    # A Gaussian's J is symmetric and cannot tell them apart; this one can.
    J = torch.randn(16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x, e = rows(0), rows(1)
    for direction, F in ((Newton(), J), (Gradient(), J.T), (Exact(0), torch.linalg.inv(J))):
        _, linear = direction.linearize(lambda x: apply(J, x) + 1, x)
        torch.testing.assert_close(linear(e), apply(F, e), **TIGHT)


def bend(x: Tensor) -> Tensor:
    """Nonlinear, every row by itself."""
    return torch.tanh(x + 0.3 * x.roll(1, -1) ** 2)


def test_newton_is_a_forward_difference_of_first_order() -> None:
    x, e = rows(0), rows(1)
    exact = (1 - bend(x) ** 2) * (e + 0.6 * x.roll(1, -1) * e.roll(1, -1))
    gaps = [(Newton(delta).linearize(bend, x)[1](e) - exact).abs().max() for delta in (1e-2, 5e-3, 1e-7)]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.05)
    assert gaps[2] < 1e-5


def test_a_central_difference_is_of_second_order() -> None:
    x, e = rows(0), rows(1)
    exact = (1 - bend(x) ** 2) * (e + 0.6 * x.roll(1, -1) * e.roll(1, -1))
    gaps = [(Newton(delta, central=True).linearize(bend, x)[1](e) - exact).abs().max() for delta in (1e-1, 5e-2)]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_newton_perturbs_equally_however_large_the_error(scale: float) -> None:
    x, e = rows(0), rows(1)
    _, linear = Newton().linearize(bend, x)
    torch.testing.assert_close(linear(scale * e) / scale, linear(e), **TIGHT)


def test_newton_perturbation_is_as_large_as_it_says_in_every_row() -> None:
    seen = []
    x, e = rows(0), rows(1) * torch.tensor([1.0, 1e-3, 1e3], dtype=torch.float64).reshape(3, 1, 1, 1)
    _, linear = Newton(0.02).linearize(lambda x: seen.append(x) or x, x)
    linear(e)
    largest = (seen[1] - seen[0]).abs().amax((1, 2, 3))
    torch.testing.assert_close(largest, torch.full_like(largest, 0.02))


@pytest.mark.parametrize("direction", [Newton(), Newton("auto"), Newton(0.1, central=True)])
def test_a_product_takes_both_ends_in_one_call(direction: Newton) -> None:
    x, e, sizes = rows(0), rows(1), []
    e[1] = 0

    def noted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return bend(x)

    made = direction.product(noted, x, e)
    assert sizes == [2 * len(x)]
    torch.testing.assert_close(made, direction.linearize(bend, x)[1](e), **TIGHT)
    assert not made[1].any()
    for i in range(len(x)):
        torch.testing.assert_close(direction.product(bend, x[i : i + 1], e[i : i + 1]), made[i : i + 1], **TIGHT)


@pytest.mark.parametrize("direction", ALL)
def test_a_met_row_gets_zero_and_its_mates_do_not_notice(direction: Direction) -> None:
    x, e = rows(0), rows(1)
    met = e.clone()
    met[1] = 0
    _, linear = direction.linearize(bend, x)
    d, others = linear(met), linear(e)
    assert torch.equal(d[1], torch.zeros_like(d[1]))
    assert torch.equal(d[[0, 2]], others[[0, 2]])
    assert others[1].abs().max() > 0


@pytest.mark.parametrize("direction", ALL)
def test_rows_are_independent(direction: Direction) -> None:
    x, e = rows(0), rows(1)
    together = direction.linearize(bend, x)[1](e)
    for i in range(3):
        alone = direction.linearize(bend, x[i : i + 1])[1](e[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, **TIGHT)


@pytest.mark.parametrize("direction", ALL)
def test_each_direction_pays_its_own_price(direction: Direction) -> None:
    calls = []

    def f(x: Tensor) -> Tensor:
        calls.append(x)
        return bend(x)

    x = rows(0)
    with torch.no_grad():  # as a run samples: directions that differentiate switch it on themselves
        _, linear = direction.linearize(f, x)
        assert len(calls) == 1
        d = linear(rows(1))
    assert len(calls) == 1 + direction.forwards
    assert not d.requires_grad


@pytest.mark.parametrize("difference", [0, -0.1, float("nan")])
def test_newton_refuses_a_difference_that_is_none(difference: float) -> None:
    with pytest.raises(ValueError, match="difference="):
        Newton(difference)


@pytest.mark.parametrize("cutoff", [-0.1, 1.0])
def test_exact_refuses_a_cutoff_that_keeps_nothing(cutoff: float) -> None:
    with pytest.raises(ValueError, match="cutoff="):
        Exact(cutoff)

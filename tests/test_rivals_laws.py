"""What the rival methods are made of, against closed forms."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from helpers.gaussian import Gaussian
from helpers.rivals import Conditional, known, mask, measured, reduce, rows, sampled
from torch import Tensor, nn

from fcs.core.constraints import Known, Measured, Observed, Sum
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.directions import Direction, Gradient, Newton
from fcs.core.levels import Level, ddpm_levels, flow_levels
from fcs.core.operators import Downsample, GaussianBlur, Operator, Pixels
from fcs.core.per_sample import RecordNoise
from fcs.samplers import DING, LATINO, MMPS, RePaint, Replacement
from fcs.samplers.base import renoise
from fcs.samplers.mmps import krylov
from fcs.samplers.prior import Prior
from fcs.samplers.proximal import proximal
from fcs.samplers.psld import squared_norm

TIGHT = {"rtol": 0, "atol": 1e-8}


# The distance that they go down


@pytest.mark.parametrize("constraint", [known([0, 1, 2]), measured([0, 1, 2])])
def test_the_pull_is_minus_the_gradient_of_the_norm_of_what_is_missing(constraint: Observed) -> None:
    x0 = rows(0)[:3].requires_grad_()
    distance = constraint.missing(x0).flatten(1).norm(dim=1)
    (gradient,) = torch.autograd.grad(distance.sum(), x0)
    with torch.no_grad():
        torch.testing.assert_close(constraint.pull(x0), -gradient, rtol=0, atol=1e-12)
    if isinstance(constraint, Known):
        torch.testing.assert_close(distance.square() / 2, constraint.loss(x0))


def test_the_pull_of_a_sum_is_the_sum_of_pulls() -> None:
    x0, terms = rows(0), [known([0, 1, 2, 3]), measured([0, 1, 2, 3])]
    expected = 0.5 * terms[0].pull(x0) + 2 * terms[1].pull(x0)
    torch.testing.assert_close(Sum([*terms], [0.5, 2.0]).pull(x0), expected)


def test_a_met_or_empty_constraint_does_not_pull() -> None:
    y = rows(0)
    assert torch.equal(Known(y, mask()).pull(y), torch.zeros_like(y))
    assert torch.equal(Known(y, 0 * mask()).pull(rows(1)), torch.zeros_like(y))


def test_the_transpose_is_that_of_the_operator() -> None:
    u, v = rows(0, 16), rows(1, 4)
    transposed = measured([0, 1, 2, 3]).transpose(v, u)
    torch.testing.assert_close((reduce(u) * v).sum(), (u * transposed).sum())
    assert not transposed.requires_grad
    leaf = v.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((measured([0, 1, 2, 3]).transpose(leaf, u) * u).sum(), leaf)
    torch.testing.assert_close(gradient, reduce(u))  # and it is a linear function of v for autograd too


@pytest.mark.parametrize(
    "operator",
    [Downsample(4, "average"), Downsample(4), GaussianBlur(1.0), Pixels(mask().clone())],
    ids=lambda one: type(one).__name__,
)
def test_the_squared_norm_is_each_rows_largest_singular_value(operator: Operator) -> None:
    if isinstance(operator, Pixels):
        operator.given[1] = 0
        operator.given[2] *= 0.5
    pixels = torch.eye(64, dtype=torch.float64).reshape(64, 1, 1, 8, 8).expand(64, 4, 1, 8, 8)
    matrices = torch.stack([operator.A(pixel).flatten(1) for pixel in pixels], 2)
    expected = torch.linalg.matrix_norm(matrices, 2).square()
    picture = torch.zeros(4, 1, 8, 8, dtype=torch.float64)
    found = squared_norm(Measured(operator.A(picture), operator.A, lambda z: z), picture).flatten()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-12)


# Steps


def observed(kind: str, m: Tensor) -> tuple[Observed, Tensor, Tensor]:
    """Three rows of 4 x 4, masked by ``m`` or averaged over 2 x 2 (``measured``): as a constraint, and as A x = b."""
    if kind == "measured":
        y = rows(2, 2, 3)
        A = F.avg_pool2d(torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4), 2).flatten(1).T
        return Measured(y, lambda x: F.avg_pool2d(x, 2), lambda x: x), A, y.flatten(1)
    y = rows(1, 4, 3)
    return Known(y, m.expand(3, 1, 4, 4)), torch.diag(m.flatten().sqrt()), (m.sqrt() * y).flatten(1)


@pytest.mark.parametrize("level", [Level(0, 0.07, 0.9975), Level(0, 0.5, 0.75**0.5), Level(0, 0.99, 0.0199**0.5)])
@pytest.mark.parametrize("kind", ["known", "soft", "measured"])
@pytest.mark.parametrize("direction", [Newton(), Gradient()])
def test_mmps_is_the_exact_posterior_mean_on_a_gaussian(
    gaussian: Gaussian, level: Level, kind: str, direction: Direction
) -> None:
    size, noise = (1, 4, 4), 0.1
    m = torch.zeros(size, dtype=torch.float64)
    m[..., :2] = 1
    m[..., 2] = 0.3 if kind == "soft" else 0
    constraint, A, b = observed(kind, m)

    x = rows(5, 4, 3)
    clean = Level(0, 1.0, 0.0)  # a step to it gives x_0 itself
    made = MMPS(16, noise, direction, 1e-12)(
        x, [level, clean], lambda x, at: gaussian.x0(x, at.alpha, at.sigma), constraint, RecordNoise([0, 1, 2])
    )
    # The precisions of prior, x_t and y add up.
    information = torch.linalg.inv(gaussian.covariance) @ gaussian.mean
    information = information + level.alpha / level.sigma**2 * x.flatten(1) + b @ A / noise**2
    precision = torch.linalg.inv(gaussian.covariance) + (level.alpha / level.sigma) ** 2 * gaussian.identity
    precision = precision + A.T @ A / noise**2
    torch.testing.assert_close(made.flatten(1), torch.linalg.solve(precision, information.T).T, rtol=0, atol=1e-6)


def test_mmps_samples_the_posterior_of_a_gaussian_with_ancestral_noise() -> None:
    """One entry, measured as .6 with noise .5: over many levels the samples have the posterior's mean and variance."""
    prior, noise, y, count = 2.0, 0.5, 0.6, 4000
    levels = [Level(t, math.cos(t), math.sin(t)) for t in torch.linspace(1.56, 0.0, 800).tolist()]

    def denoise(x: Tensor, at: Level) -> Tensor:
        return at.alpha * prior / (at.alpha**2 * prior + at.sigma**2) * x

    target = torch.full((count, 1, 1, 1), y, dtype=torch.float64)
    known = Known(target, torch.ones(1, 1, 1, 1, dtype=torch.float64).expand_as(target))
    draws = torch.Generator().manual_seed(0)

    def randn(shape: Sequence[int]) -> Tensor:
        return torch.randn(count, *shape, generator=draws, dtype=torch.float64)

    x = randn((1, 1, 1))
    found = MMPS(1, noise, cutoff=1e-12)(x, levels, denoise, known, randn).flatten()
    variance = 1 / (1 / prior + 1 / noise**2)
    error = (variance / count) ** 0.5
    assert found.mean().item() == pytest.approx(variance * y / noise**2, abs=4 * error)
    # a sample variance has a relative error of sqrt(2 / n)
    assert found.var().item() == pytest.approx(variance, rel=4 * (2 / count) ** 0.5)
    without = MMPS(1, noise, cutoff=1e-12, eta=0)(x, levels, denoise, known, randn).flatten()
    assert without.mean().item() == pytest.approx(variance * y / noise**2, abs=4 * error)


def test_a_larger_krylov_space_leaves_less(gaussian: Gaussian) -> None:
    J = gaussian.jacobian(0.5, 0.75**0.5) + 0.2 * torch.triu(torch.ones(16, 16, dtype=torch.float64))  # no symmetry
    b = rows(1, 4)

    def spread(u: Tensor) -> Tensor:
        return (u.flatten(1) @ J.T).reshape(u.shape)

    left = []
    for iterations in (1, 2, 4, 8, 16):
        # With system = spread the answer is the best approximation of b itself.
        found = krylov(b, spread, lambda u, w: w, iterations, 1e-12)
        left.append((found - b).flatten(1).norm(dim=1))
    assert all((after <= before + 1e-9).all() for before, after in pairwise(left))
    assert (left[-1] < 1e-6).all()
    assert torch.equal(krylov(torch.zeros_like(b), spread, lambda u, w: w, 3, 1e-4), torch.zeros_like(b))


def test_ding_on_a_scalar_gaussian() -> None:
    # Prior N(0, 1): x_0(x_t) = alpha x_t and eps = sigma x_t on a variance-preserving level.
    t, s = Level(0, 0.6, 0.8), Level(0, 0.8, 0.6)
    y, x, noise = 0.7, -1.3, 0.2
    first, second = RecordNoise([5], dtype=torch.float64), RecordNoise([5], dtype=torch.float64)
    n1, n2 = first((1,)).item(), first((1,)).item()
    eta = 0.6 * (1 - 0.8)
    mu = 0.8 * 0.6 * x + (0.36 - eta**2) ** 0.5 * 0.8 * x
    eh = 0.6 * (mu + eta * n1)
    gamma = eta**2 / (eta**2 + 0.64 * noise**2)
    expected = (1 - gamma) * mu + gamma * (0.8 * y + 0.6 * eh) + 0.8 * noise * gamma**0.5 * n2
    given = Known(torch.full((1, 1), y, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    start = torch.full((1, 1), x, dtype=torch.float64)
    found = DING(noise)(start, [t, s], lambda x, level: level.alpha * x, given, second)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    free = DING(noise)(
        start, [t, s], lambda x, level: level.alpha * x, Known(given.target, 0 * given.known), RecordNoise([5])
    )
    assert free.item() == pytest.approx(mu + eta * n2, abs=1e-12)


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_going_back_up_keeps_the_marginals(abar: Tensor, kind: str) -> None:
    levels = flow_levels(7) if kind == "flow" else ddpm_levels(abar, 7)
    x0, eps, z = torch.eye(3, dtype=torch.float64).unsqueeze(1).unbind(0)  # unit vectors show their coefficients
    for t, s in pairwise(levels):
        x = renoise(s.alpha * x0 + s.sigma * eps, s, t, lambda shape: z)[0]
        assert x[0].item() == pytest.approx(t.alpha, abs=1e-12)
        assert x[1:].norm().item() == pytest.approx(t.sigma, abs=1e-12)


def test_the_proximal_step_is_the_minimum_in_closed_form() -> None:
    blur, weight = GaussianBlur(0.5), 1.0
    pixels = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    A = blur.A(pixels).flatten(1).T
    y, x0 = rows(1), rows(2)
    model = Prior(Guided(Denoiser(nn.Identity(), "eps")), lambda picture: picture, lambda z: z)
    found = proximal(x0, Measured(y, blur.A, lambda z: z), model, weight, 5)
    right = y.flatten(1) @ A + weight * x0.flatten(1)
    expected = torch.linalg.solve(A.T @ A + weight * torch.eye(64, dtype=torch.float64), right.T).T
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["known", "measured"])
def test_latino_is_the_posterior_mean_under_a_white_gaussian(kind: str) -> None:
    # With x_0 given x_t a Gaussian of variance trust sigma^2 around the denoiser's, the step is its mean given y.
    t, noise, trust = Level(700.0, 0.6, 0.8), 0.3, 0.7
    x, size = rows(5, 4, 3), (1, 4, 4)
    m = torch.tensor([1.0, 1.0, 0.3, 0.0], dtype=torch.float64).expand(size)
    constraint, A, b = observed(kind, m)
    model = Prior(Guided(Denoiser(Half(), "eps")), lambda picture: picture, lambda z: z)
    made = LATINO(noise, trust, 1.0)(x, [t, Level(0, 1.0, 0.0)], model, constraint, RecordNoise([0, 1, 2]))
    mean = (x - 0.8 * 0.5 * x).flatten(1) / 0.6
    variance = trust * 0.8**2
    gain = variance * A.T @ torch.linalg.inv(variance * A @ A.T + noise**2 * torch.eye(len(A), dtype=torch.float64))
    torch.testing.assert_close(made.flatten(1), mean + (b - mean @ A.T) @ gain.T, rtol=0, atol=1e-9)


class Half(nn.Module):
    """Half of what it sees."""

    def forward(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        return 0.5 * x


def test_repaints_published_route() -> None:
    route = RePaint().route(250)
    assert RePaint().calls(250) == 250 + 24 * 9 * 10  # jumps at the times 0, 10, ... 230
    assert (route[0], route[-1]) == (0, 250)
    assert all(abs(there - here) == 1 for here, there in pairwise(route))
    assert RePaint(10, 1).route(20) == list(range(21))
    assert RePaint().route(1) == [0, 1]


def test_repaint_of_one_pass_is_replacement_with_ancestral_steps(small_network: nn.Module, abar: Tensor) -> None:
    # Over every level the run's own noise is ancestral, so there both are one.
    levels = ddpm_levels(abar, 1000)[-30:]
    network = Conditional(small_network)
    found, expected = (sampled(s, network, levels, known, [0, 1]) for s in (RePaint(passes=1), Replacement()))
    torch.testing.assert_close(found, expected, **TIGHT)

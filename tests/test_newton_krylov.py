"""Newton-Krylov: what its fit is on a Gaussian prior, the known entries, memory, and where it begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor, nn

from fcs.core.constraints import Known
from fcs.core.denoise_wrappers import CallCounter
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.levels import Level, ddpm_levels, flow_levels
from fcs.core.per_sample import RecordNoise
from fcs.samplers import NewtonKrylov, ProjectedNewton, Sampler

SHAPE = (1, 8, 8)


def noise() -> RecordNoise:
    return RecordNoise([1, 2], dtype=torch.float64)


def left(shape: tuple[int, ...] = SHAPE, columns: int = 4) -> Tensor:
    known = torch.zeros(2, *shape, dtype=torch.float64)
    known[..., :columns] = 1
    return known


@pytest.mark.parametrize("level", [Level(0, 0.3, 0.95), Level(0, 0.9, 0.4)])
def test_with_a_product_for_each_known_entry_it_is_the_posterior_mean(gaussian: Gaussian, level: Level) -> None:
    # E[x_0 | x_t, y] = x_0 + J A^T (A J A^T)^-1 (y - A x_0): Cov[x_0 | x_t] is J times a number.
    known, y = left(gaussian.shape, 1), noise()(gaussian.shape)
    x = 2 * noise()(gaussian.shape)
    sampler = NewtonKrylov(products=[4], ridge=1e-14)
    made = sampler(x, [level, Level(0, 1, 0)], lambda x, t: gaussian.x0(x, t.alpha, t.sigma), Known(y, known), noise())
    A = torch.eye(16, dtype=torch.float64)[known[0].flatten() > 0]
    J = gaussian.jacobian(level.alpha, level.sigma)
    x0 = gaussian.x0(x, level.alpha, level.sigma)
    gain = J @ A.T @ torch.linalg.inv(A @ J @ A.T)
    exact = x0 + ((y - x0).flatten(1) @ A.T @ gain.T).view_as(x0)
    torch.testing.assert_close(made, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("products", [1, 2, 3])
def test_each_product_brings_x0_nearer_to_the_measurement(gaussian: Gaussian, products: int) -> None:
    level, known, y = Level(0, 0.6, 0.8), left(gaussian.shape, 2), noise()(gaussian.shape)
    x, left_over = noise()(gaussian.shape), []

    class Watched(Known):
        def project(self, x0: Tensor) -> Tensor:
            left_over.append(self.residual(x0))
            return super().project(x0)

    for count in (products - 1, products):
        sampler = NewtonKrylov(products=[count], ridge=1e-8)
        denoise = lambda x, t: gaussian.x0(x, t.alpha, t.sigma)  # noqa: E731
        sampler(x, [level, Level(0, 1, 0)], denoise, Watched(y, known), noise())
    assert (left_over[1] < 0.9 * left_over[0]).all()


@pytest.mark.parametrize("flow", [False, True])
def test_known_entries_come_out_as_they_are(small_network: nn.Module, abar: Tensor, flow: bool) -> None:
    levels = flow_levels(10) if flow else ddpm_levels(abar, 10)
    denoise, y = Guided(Denoiser(small_network, "flow" if flow else "eps")), noise()(SHAPE)
    with torch.no_grad():
        x0 = NewtonKrylov()(noise()(SHAPE), levels, denoise, Known(y, left()), noise())
    assert x0.isfinite().all()
    torch.testing.assert_close(left() * x0, left() * y, rtol=0, atol=1e-12)


def test_products_of_earlier_levels_serve_later_ones(gaussian: Gaussian, abar: Tensor) -> None:
    """Without products of its own the second level still leaves less of the error than without memory."""
    levels, known, y = ddpm_levels(abar, 8), left(gaussian.shape, 2), noise()(gaussian.shape)
    left_over: dict[int, list[Tensor]] = {0: [], 4: []}
    for memory, found in left_over.items():

        class Watched(Known):
            told = found

            def project(self, x0: Tensor) -> Tensor:
                self.told.append(self.residual(x0))
                return super().project(x0)

        denoise = lambda x, t: gaussian.x0(x, t.alpha, t.sigma)  # noqa: E731
        sampler = NewtonKrylov(products=[3, 0, 0, 0, 0, 0, 0, 0], ridge=1e-8, memory=memory)
        sampler(noise()(gaussian.shape), levels, denoise, Watched(y, known), noise())
    torch.testing.assert_close(left_over[0][0], left_over[4][0])
    assert (left_over[4][1] < 0.7 * left_over[0][1]).all()


def test_the_profile_is_stretched_over_the_levels(small_network: nn.Module, abar: Tensor) -> None:
    sampler = NewtonKrylov(products=[1, 2, 0])
    assert sampler.plan(6) == [1, 1, 2, 2, 0, 0]
    assert sampler.plan(1) == [2]
    assert NewtonKrylov().calls(10) == 20
    counter = CallCounter()
    with torch.no_grad():
        denoise = counter(Guided(Denoiser(small_network, "eps")))
        sampler(noise()(SHAPE), ddpm_levels(abar, 6), denoise, Known(noise()(SHAPE), left()), noise())
    assert counter.calls == sampler.calls(6) == 6 + 6


def test_x_t_follows_by_a_share_of_the_correction(gaussian: Gaussian) -> None:
    """Of one step from t to s without new noise: sigma_s / sigma_t times what x_t was moved by."""
    t, s, known, y = Level(0, 0.6, 0.8), Level(0, 0.8, 0.6), left(gaussian.shape, 2), noise()(gaussian.shape)
    x, told = noise()(gaussian.shape), []

    def watched(x: Tensor, level: Level) -> Tensor:
        told.append(x)
        return gaussian.x0(x, level.alpha, level.sigma)

    made = []
    for follow in (0.0, 0.5, 1.0):
        told.clear()
        NewtonKrylov(products=[1, 0], follow=follow, eta=0)(
            x, [t, s, Level(0, 1, 0)], watched, Known(y, known), noise()
        )
        made.append(told[-1])
    torch.testing.assert_close(made[1] - made[0], (made[2] - made[0]) / 2)
    moved = (made[2] - made[0]) * t.sigma / s.sigma / t.alpha
    x0 = gaussian.x0(x, t.alpha, t.sigma)
    torch.testing.assert_close(known * moved, known * (y - x0))


@pytest.mark.parametrize("steps", [3, 10])
def test_a_push_is_a_multiplier_that_ancestral_steps_carry_unchanged(abar: Tensor, steps: int) -> None:
    """Of two runs whose x_t differ in ``delta``, ``alpha delta / sigma^2`` is the same at every level.

    The network says the same in both, so only the levels' own steps act on the difference.
    """
    levels, y, pushed = ddpm_levels(abar, steps), noise()(SHAPE), []

    def denoise(x: Tensor, level: Level) -> Tensor:
        pushed.append((level, x))
        return torch.zeros_like(x)

    for push in (0.0, 0.7):
        sampler = NewtonKrylov(products=[0], follow=0, push=push)
        sampler(noise()(SHAPE), levels, denoise, Known(y, left()), noise())
    multipliers = [
        there.alpha * (there_x - here_x) / there.sigma**2
        for (_, here_x), (there, there_x) in zip(pushed[:steps], pushed[steps:], strict=True)
    ]
    total = torch.zeros_like(y)
    for level, multiplier in zip(levels, multipliers, strict=False):
        torch.testing.assert_close(multiplier, total)
        total = total + level.alpha / level.sigma**2 * 0.7 * level.sigma * left() * y  # the error is y: x_0 is 0


@pytest.mark.parametrize("products", [[0], [1]])
def test_pushes_bring_what_the_network_says_to_the_measurement(
    gaussian: Gaussian, abar: Tensor, products: list[int]
) -> None:
    """Over the levels, before anything is corrected or put in: nearer than where nothing is pushed."""
    y, known, left_over = noise()(gaussian.shape), left(gaussian.shape, 2), []
    for push in (0.0, 1.0):
        told = []

        def denoise(x: Tensor, level: Level, told: list[Tensor] = told) -> Tensor:
            told.append(gaussian.x0(x, level.alpha, level.sigma))
            return told[-1]

        sampler = NewtonKrylov(products=products, follow=0, push=push)
        sampler(noise()(gaussian.shape), ddpm_levels(abar, 20), denoise, Known(y, known), noise())
        left_over.append(Known(y, known).residual(told[15 * (1 + products[0])]))
    assert (left_over[1] < 0.7 * left_over[0]).all()


def gaussian_errors(
    gaussian: Gaussian, abar: Tensor, steps: int, push: float, prior_variance: float = 0.0
) -> tuple[float, float]:
    """The posterior mean's error in the posterior's standard deviations, and the spread over them."""
    count, known = 500, left(gaussian.shape, 2)[:1]
    root = torch.linalg.cholesky(gaussian.covariance)
    y = (gaussian.mean + root @ noise()((16,))[0]).view(1, *gaussian.shape)
    A = torch.eye(16, dtype=torch.float64)[known[0].flatten() > 0]
    hidden = known[0].flatten() == 0
    mean = gaussian.posterior_mean(A, A @ y.flatten())[hidden]
    spread = gaussian.posterior_covariance(A).diagonal().sqrt()[hidden]
    randn = RecordNoise(list(range(count)), dtype=torch.float64)
    constraint, x = Known(y.expand(count, -1, -1, -1), known), randn(gaussian.shape)
    denoise = lambda x, t: gaussian.x0(x, t.alpha, t.sigma)  # noqa: E731
    sampler = NewtonKrylov(follow=0, push=push, prior_variance=prior_variance)
    made = sampler(x, ddpm_levels(abar, steps), denoise, constraint, randn).flatten(1)[:, hidden]
    return ((made.mean(0) - mean) / spread).square().mean().sqrt().item(), (made.std(0) / spread).mean().item()


@pytest.mark.parametrize("prior_variance", [0.0, 1.0])
def test_without_following_a_gaussian_comes_out_as_its_posterior(
    gaussian: Gaussian, abar: Tensor, prior_variance: float
) -> None:
    """With more levels the mean's error falls, and the spread comes nearer."""
    made = (gaussian_errors(gaussian, abar, steps, 0, prior_variance) for steps in (15, 60))
    errors, spreads = zip(*made, strict=True)
    assert errors[1] < 0.7 * errors[0]
    assert errors[1] < 0.15  # .06 and a standard error of .045
    assert abs(1 - spreads[1]) < 0.5 * abs(1 - spreads[0]) < 0.5 * 0.2


def test_a_push_brings_few_levels_as_near_to_the_posterior_as_many(gaussian: Gaussian, abar: Tensor) -> None:
    error, spread = gaussian_errors(gaussian, abar, 15, 0.5)
    many, _ = gaussian_errors(gaussian, abar, 60, 0)
    assert error < many + 0.045  # and its standard error
    assert 0.8 < spread < 1.1


def without_products(prior_variance: float, eta: float = 1) -> Sampler:
    return NewtonKrylov(products=[0], prior_variance=prior_variance, eta=eta)


def without_moves(prior_variance: float, eta: float = 1) -> Sampler:
    return ProjectedNewton(moves=[0], prior_variance=prior_variance, eta=eta)


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("variance", [0.3, 2.0])
@pytest.mark.parametrize("make", [without_products, without_moves])
def test_a_step_from_a_draw_of_x0_keeps_the_marginals_of_a_white_prior(
    abar: Tensor, flow: bool, variance: float, make: Callable[[float], Sampler]
) -> None:
    """One long step: the free entries of x_s have the variance alpha_s^2 v + sigma_s^2 that the diffusion gives them.

    From the mean of x_0 they would have less, by the variance of x_0 times the squared factor with which it goes in.
    """
    t, s, end = Level(0, 0.3, 0.7 if flow else (1 - 0.09) ** 0.5), Level(0, 0.8, 0.2 if flow else 0.6), Level(0, 1, 0)
    count, known = 20_000, left(columns=4)[:1]
    randn = RecordNoise(list(range(count)), dtype=torch.float64)
    x = (t.alpha**2 * variance + t.sigma**2) ** 0.5 * randn(SHAPE)
    found = {}
    for prior in (0.0, variance):
        told = []

        def denoise(x: Tensor, level: Level, told: list[Tensor] = told) -> Tensor:
            told.append(x)
            return level.alpha * variance / (level.alpha**2 * variance + level.sigma**2) * x

        make(prior)(x, [t, s, end], denoise, Known(torch.zeros_like(x), known), randn)
        found[prior] = told[1][..., 4:].var().item()
    wanted = s.alpha**2 * variance + s.sigma**2
    assert found[variance] == pytest.approx(wanted, rel=0.01)  # 5 standard errors of 640,000 entries: .9 %
    kept = t.alpha * s.sigma / (s.alpha * t.sigma)
    lost = (s.alpha * (1 - kept**2)) ** 2 * variance * t.sigma**2 / (variance * t.alpha**2 + t.sigma**2)
    assert wanted - found[0.0] == pytest.approx(lost, abs=0.01 * wanted)


@pytest.mark.parametrize("make", [without_products, without_moves])
def test_what_is_known_and_the_last_step_are_no_draws(
    gaussian: Gaussian, make: Callable[[float, float], Sampler]
) -> None:
    """A draw moves free entries alone, by no more than softly known ones leave open, and none of the last step's."""
    t, s, end = Level(0, 0.6, 0.8), Level(0, 0.8, 0.6), Level(0, 1, 0)
    y, x = noise()(gaussian.shape), noise()(gaussian.shape)
    known = left(gaussian.shape, 2)
    known[..., 2] = 0.75
    told: dict[float, list[Tensor]] = {}
    for prior in (0.0, 1.0):
        told[prior] = []

        def denoise(x: Tensor, level: Level, told: list[Tensor] = told[prior]) -> Tensor:
            told.append(x)
            return gaussian.x0(x, level.alpha, level.sigma)

        make(prior, 0)(x, [t, s, end], denoise, Known(y, known), noise())
    moved = told[1.0][1] - told[0.0][1]
    assert (moved[..., :2] == 0).all()
    assert (moved[..., 2:] != 0).all()
    drawn = noise()(gaussian.shape)  # the first noise that the sampler asks for
    factor = (s.alpha - s.sigma * t.alpha / t.sigma) * (t.sigma**2 / (t.alpha**2 + t.sigma**2)) ** 0.5
    torch.testing.assert_close(moved[..., 3:], factor * drawn[..., 3:])
    torch.testing.assert_close(moved[..., 2], 0.5 * factor * drawn[..., 2])
    one = [make(prior, 1)(x, [t, end], denoise, Known(y, known), noise()) for prior in (0.0, 1.0)]
    assert torch.equal(*one)


@pytest.mark.parametrize(
    "wrong",
    [
        {"products": []},
        {"products": [-1]},
        {"follow": -0.1},
        {"push": -0.1},
        {"ridge": 0.0},
        {"memory": -1},
        {"eta": 2},
        {"prior_variance": -1},
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name}=.*: expected"):
        NewtonKrylov(**wrong)  # type: ignore[arg-type]

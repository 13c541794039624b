"""The algorithm: laws that hold on a Gaussian prior, and that every row is sampled as if it were alone."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor, nn

from fcs.core.constraints import Known, Measured
from fcs.core.denoise_wrappers import CallCounter
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.directions import Direction, Gradient, Local, Newton
from fcs.core.levels import Level, ddpm_levels, flow_levels, pairs
from fcs.core.per_sample import RecordNoise
from fcs.samplers import DDIM, InexactNewton, Replacement, Sampler
from fcs.samplers.base import ddim_step

TIGHT = {"rtol": 0, "atol": 1e-10}
SEEDS = [11, 12, 13, 14]


def noise(seeds: list[int] = SEEDS, dtype: torch.dtype = torch.float64) -> RecordNoise:
    return RecordNoise(seeds, dtype=dtype)


def targets(n: int = 4, size: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype).clamp(-1, 1)


def left(n: int = 4, size: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    """Left half known, another number of columns in each row."""
    mask = torch.zeros(n, 1, size, size, dtype=dtype)
    for i in range(n):
        mask[i, ..., : size // 2 + i % 2] = 1
    return mask


def sampled(sampler: Sampler, network: nn.Module, abar: Tensor, rows: list[int], y: Tensor, known: Tensor) -> Tensor:
    """x_0 of the named rows, in their order, each with its own seed, target and mask."""
    randn = noise([SEEDS[i] for i in rows], y.dtype)
    denoise = Guided(Denoiser(network, "eps"))
    constraint = Known(y[rows], known[rows])
    with torch.no_grad():
        return sampler(randn(y.shape[1:]), ddpm_levels(abar, 5), denoise, constraint, randn)


# Rows


@pytest.mark.parametrize("direction", [Newton(), Gradient(), Local()])
def test_a_batch_is_its_rows_alone(direction: Direction, small_network: nn.Module, abar: Tensor) -> None:
    sample = partial(sampled, InexactNewton(direction), small_network, abar, y=targets(), known=left())
    together = sample([0, 1, 2, 3])
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], sample([i]), rtol=0, atol=1e-9)


def test_order_place_and_mates_change_nothing_at_all(small_network: nn.Module, abar: Tensor) -> None:
    # In float32 and to the last bit: a record's result must not depend on its place in a batch.
    y, known = targets(dtype=torch.float32), left(dtype=torch.float32)
    sample = partial(sampled, InexactNewton(), small_network.float(), abar, y=y, known=known)
    straight, shuffled = sample([0, 1, 2, 3]), sample([2, 0, 3, 1])
    assert torch.equal(shuffled, straight[[2, 0, 3, 1]])
    assert torch.equal(sample([1, 1, 1, 3])[:3], straight[[1, 1, 1]])


def test_without_error_the_row_samples_freely(small_network: nn.Module, abar: Tensor) -> None:
    # e = 0 must leave x unchanged, not make it nan: the row is then the plain DDIM sample, to the last bit.
    y, known = targets(), left()
    known[1] = 0
    constrained = sampled(InexactNewton(), small_network, abar, [0, 1, 2, 3], y, known)
    free = sampled(DDIM(), small_network, abar, [0, 1, 2, 3], y, known)
    mates = sampled(InexactNewton(), small_network, abar, [0, 1, 2, 3], y, left())
    assert torch.isfinite(constrained).all()
    assert torch.equal(constrained[1], free[1])
    assert torch.equal(constrained[[0, 2, 3]], mates[[0, 2, 3]])
    assert not torch.allclose(mates[1], free[1])


def test_a_met_constraint_leaves_x_unchanged(small_network: nn.Module, abar: Tensor) -> None:
    t, s = ddpm_levels(abar, 20)[10:12]
    denoise, x = Guided(Denoiser(small_network, "eps")), targets()
    met = Known(denoise(x, t), torch.ones_like(x))
    assert torch.equal(InexactNewton()(x, [t, s], denoise, met, noise()), DDIM()(x, [t, s], denoise, met, noise()))


def test_no_step_sizes_is_plain_sampling(small_network: nn.Module, abar: Tensor) -> None:
    sample = [
        sampled(s, small_network, abar, [0, 1], targets(), left()) for s in (InexactNewton(step_sizes=()), DDIM())
    ]
    assert torch.equal(*sample)


# Steps on a Gaussian prior


class Watched(Known):
    """Keeps every x_0 that it is asked about."""

    def __init__(self, target: Tensor, known: Tensor) -> None:
        super().__init__(target, known)
        self.seen: list[Tensor] = []

    def error(self, x0: Tensor) -> Tensor:
        self.seen.append(x0)
        return super().error(x0)


LEVELS = [Level(0, 0.07, 0.9975), Level(0, 0.5, 0.75**0.5), Level(0, 0.99, 0.0199**0.5)]
CLEAN = Level(0, 1.0, 0.0)


def denoiser(gaussian: Gaussian) -> Callable[[Tensor, Level], Tensor]:
    return lambda x, level: gaussian.x0(x, level.alpha, level.sigma)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("part", [0.1, 1.0, 1.9])
def test_unnormalised_steps_contract_the_residual(gaussian: Gaussian, level: Level, part: float) -> None:
    # r <- (1 - lambda A J J A^T) r, and 0 < lambda |A J|^2 < 2.
    known = left(4, 4)
    A = gaussian.identity[known[0].flatten() == 1]
    f = partial(denoiser(gaussian), level=level)
    constraint = Known(targets(1, 4), known[:1])
    x, step = targets(1, 4), part / torch.linalg.matrix_norm(A @ gaussian.jacobian(*level[1:3]), 2) ** 2
    residuals = []
    for _ in range(20):
        x0, F = Newton().linearize(f, x)
        residuals.append(constraint.error(x0).norm())
        x = x + step * F(constraint.error(x0))
    assert all(after < before for before, after in pairwise(residuals))


def test_unnormalised_steps_diverge_beyond_the_bound(gaussian: Gaussian) -> None:
    level, known = LEVELS[1], left(1, 4)
    A = gaussian.identity[known[0].flatten() == 1]
    f = partial(denoiser(gaussian), level=level)
    constraint = Known(targets(1, 4), known)
    x, step = targets(1, 4), 2.2 / torch.linalg.matrix_norm(A @ gaussian.jacobian(*level[1:3]), 2) ** 2
    first = constraint.error(f(x)).norm()
    for _ in range(50):
        x0, F = Newton().linearize(f, x)
        x = x + step * F(constraint.error(x0))
    assert constraint.error(f(x)).norm() > 10 * first


def test_newton_reaches_the_posterior_where_the_prior_is_a_subspace() -> None:
    # Then C^2 = C and J = alpha C, so x_0 moves by multiples of C A^T r until A x_0 = y: that is E[x_0 | y].
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(16, 6, generator=generator, dtype=torch.float64))[0]
    prior, level = Gaussian(covariance=basis @ basis.T), LEVELS[1]
    known = torch.zeros(16, dtype=torch.float64)
    known[[0, 5, 9]] = 1
    A, y = prior.identity[known == 1], torch.tensor([0.5, -0.3, 0.8], dtype=torch.float64)
    constraint = Known((A.T @ y).reshape(1, 1, 4, 4), known.reshape(1, 1, 4, 4))
    f = partial(denoiser(prior), level=level)
    x = level.alpha * prior.mean.reshape(1, 1, 4, 4)
    for _ in range(2000):
        x0, F = Newton().linearize(f, x)
        x = x + F(constraint.error(x0)) / level.alpha**2
    torch.testing.assert_close(f(x).flatten(), prior.posterior_mean(A, y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [0.1, 0.5, 1.0])
def test_one_known_pixel_is_overshot_by_one_step_at_most(gaussian: Gaussian, level: Level, size: float) -> None:
    known = torch.zeros(4, 1, 4, 4, dtype=torch.float64)
    pixel = [0, 5, 10, 15]
    for row, place in enumerate(pixel):
        known[row].view(-1)[place] = 1
    constraint = Watched(targets(4, 4), known)
    x = noise()((1, 4, 4))
    InexactNewton(step_sizes=[size] * 30)(x, [level, CLEAN], denoiser(gaussian), constraint, noise())
    r = torch.stack([known.mul(constraint.target - x0).flatten(1).sum(1) for x0 in constraint.seen])
    bound = size * gaussian.jacobian(*level[1:3])[pixel].abs().sum(1)  # lambda sum_j |(A J)_j|
    assert (r[1:].abs() <= torch.maximum(r[:-1].abs(), bound) + 1e-12).all()
    assert (r[-1].abs() <= torch.maximum(r[0].abs(), bound)).all()
    assert (r.abs().amin(0) < 0.5 * r[0].abs()).any()  # and the steps lead somewhere


@pytest.mark.parametrize("size", [0.05, 0.5])
def test_each_move_is_one_step_size_long_in_every_row(small_network: nn.Module, abar: Tensor, size: float) -> None:
    asked: list[Tensor] = []
    model = Denoiser(small_network, "eps")

    def denoise(x: Tensor, level: Level) -> Tensor:
        asked.append(x)
        return model(x, level)

    t, s = ddpm_levels(abar, 20)[:2]
    InexactNewton(step_sizes=[size, size])(targets(), [t, s], denoise, Known(targets(), left()), noise())
    base, _, moved, _, last = asked  # the perturbed points lie between
    expected = torch.full((4,), size, dtype=torch.float64)
    torch.testing.assert_close((moved - base).abs().amax((1, 2, 3)), expected)
    torch.testing.assert_close((last - moved).abs().amax((1, 2, 3)), expected)


# Walks


@pytest.mark.parametrize("steps", [5, 20, 1000])
@pytest.mark.parametrize("kind", ["even", "paper", "flow"])
def test_ddim_keeps_the_marginals(abar: Tensor, steps: int, kind: str) -> None:
    # From alpha x_0 + sigma eps and the true x_0 it must come to alpha' x_0 + sigma' (unit noise).
    # Unit vectors for x_0, eps and z show their coefficients.
    x0, eps, z = torch.eye(3, dtype=torch.float64).unsqueeze(1).unbind(0)
    levels = flow_levels(steps) if kind == "flow" else ddpm_levels(abar, steps, kind)
    for t, s in pairs(levels):
        x = ddim_step(t.alpha * x0 + t.sigma * eps, x0, t, s, lambda shape: z)[0]
        assert x[0].item() == pytest.approx(s.alpha, abs=1e-10)
        assert x[1:].norm().item() == pytest.approx(s.sigma, abs=1e-10)
        assert x[2].item() == pytest.approx(s.noise_std, abs=1e-10)


def test_ddim_over_every_level_is_ancestral_sampling(abar: Tensor) -> None:
    # The mean of q(x_s | x_t, x_0), Ho et al. 2020, eq. 7.
    x, x0 = targets(1), targets(2)[1:]
    for i in (1, 500, 999):
        t, s = ddpm_levels(abar, 1000)[999 - i : 1001 - i]
        beta = 1 - abar[i] / abar[i - 1]
        on_x0 = abar[i - 1].sqrt() * beta / (1 - abar[i])
        on_x = (1 - beta).sqrt() * (1 - abar[i - 1]) / (1 - abar[i])
        mean = ddim_step(x, x0, t, s, lambda shape: torch.zeros(1, *shape, dtype=torch.float64))
        torch.testing.assert_close(mean, on_x0 * x0 + on_x * x, rtol=0, atol=1e-9)


def test_flow_sampling_converges_to_the_closed_form(gaussian: Gaussian) -> None:
    # The probability flow of a Gaussian stretches each eigenvector by sqrt(c) from unit noise.
    x, shape = noise()((1, 4, 4)), (4, 1, 4, 4)
    values, vectors = torch.linalg.eigh(gaussian.covariance)
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    expected = (gaussian.mean + x.flatten(1) @ root).reshape(shape)
    nothing = Known(x, torch.zeros_like(x))
    gaps = [
        (DDIM()(x, flow_levels(steps), denoiser(gaussian), nothing, noise()) - expected).abs().max()
        for steps in (50, 100, 400)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.2)  # Euler: first order
    assert gaps[2] < 0.02


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_samples_meet_the_constraint_on_either_kind_of_level(gaussian: Gaussian, abar: Tensor, kind: str) -> None:
    if kind == "flow":
        levels = flow_levels(20)
        network = Denoiser(gaussian.network("flow", lambda t: (1 - t / 1000, t / 1000)), "flow")
    else:
        levels = ddpm_levels(abar, 20)
        table = {round(level.t): level[1:3] for level in levels}
        network = Denoiser(gaussian.network("eps", lambda t: table[round(t)]), "eps")
    constraint, randn = Known(targets(4, 4), left(4, 4)), noise()
    x = levels[0].sigma * randn((1, 4, 4))
    free, met = (s(x, levels, Guided(network), constraint, noise()) for s in (DDIM(), InexactNewton()))
    assert torch.isfinite(met).all()
    assert (constraint.residual(met) < 0.2 * constraint.residual(free)).all()


@pytest.mark.parametrize("std", [0.1, 0.3])
def test_the_residual_ends_at_the_noise_level(gaussian: Gaussian, abar: Tensor, std: float) -> None:
    levels, randn = ddpm_levels(abar, 50), noise()
    root = torch.linalg.cholesky(gaussian.covariance)
    truth = (gaussian.mean + randn((16,)) @ root.T).reshape(4, 1, 4, 4)
    y = truth + std * randn((1, 4, 4))
    walk = InexactNewton(step_sizes=[0.05, 0.04, 0.03, 0.02, 0.01])
    start = randn((1, 4, 4))
    ends = []
    for known in (0.0, std):
        constraint = Measured(y, lambda x: x, lambda x: x, noise=known)
        ends.append(constraint.residual(walk(start, levels, denoiser(gaussian), constraint, noise())))
    assert (ends[0] < 0.8 * std).all()  # the noise is fitted where it is not known of
    torch.testing.assert_close(ends[1], torch.full((4,), std, dtype=torch.float64), rtol=0.15, atol=0)


# Calls


@pytest.mark.parametrize("inner", [0, 1, 2, 5])
@pytest.mark.parametrize("steps", [1, 4])
def test_newton_calls(small_network: nn.Module, abar: Tensor, steps: int, inner: int) -> None:
    counter, sampler = CallCounter(), InexactNewton(step_sizes=[0.1] * inner)
    sampler(
        targets(),
        ddpm_levels(abar, steps),
        counter(Guided(Denoiser(small_network, "eps"))),
        Known(targets(), left()),
        noise(),
    )
    assert counter.calls == sampler.calls(steps) == steps * (1 + 2 * inner)


# Baselines


def test_replacement_ends_on_the_known_entries(small_network: nn.Module, abar: Tensor) -> None:
    y, known = targets(), left()
    x0 = sampled(Replacement(), small_network, abar, [0, 1, 2, 3], y, known)
    assert torch.equal(x0[known == 1], y[known == 1])
    assert not torch.allclose(x0[known == 0], y[known == 0])


def test_replacement_needs_known_entries(small_network: nn.Module, abar: Tensor) -> None:
    measured, denoise = Measured(targets(), lambda x: x, lambda x: x), Guided(Denoiser(small_network, "eps"))
    with pytest.raises(TypeError, match="expected the constraint Known"):
        Replacement()(targets(), ddpm_levels(abar, 2), denoise, measured, noise())


@pytest.mark.parametrize(("restarts", "depth"), [(1, 1.0), (2, 0.5), (1, 0.01)])
def test_a_restart_is_a_walk_from_the_noised_result(
    restarts: int, depth: float, small_network: nn.Module, abar: Tensor
) -> None:
    levels, y, known = ddpm_levels(abar, 8), targets(), left()
    constraint, sampler = Known(y, known), InexactNewton(step_sizes=[0.3], restarts=restarts, depth=depth)
    counter, randn = CallCounter(), noise()
    found = sampler(randn(y.shape[1:]), levels, counter(Guided(Denoiser(small_network, "eps"))), constraint, randn)
    assert counter.calls == sampler.calls(8)

    randn = noise()
    plain = InexactNewton(step_sizes=[0.3])
    expected = plain(randn(y.shape[1:]), levels, Guided(Denoiser(small_network, "eps")), constraint, randn)
    again = levels[-1 - max(1, round(8 * depth)) :]
    for _ in range(restarts):
        x = again[0].alpha * expected + again[0].sigma * randn(y.shape[1:])
        expected = plain(x, again, Guided(Denoiser(small_network, "eps")), constraint, randn)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("arguments", [{"restarts": -1}, {"depth": 0.0}, {"depth": 1.5}])
def test_senseless_restarts_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        InexactNewton(**arguments)  # type: ignore[arg-type]

"""Projected Newton: its schedule of moves, the known entries, and the order of its steps on a Gaussian prior."""

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor, nn

from fcs.core.constraints import Constraint, Known, Measured, Projectable
from fcs.core.denoise_wrappers import CallCounter
from fcs.core.denoiser import Denoiser, Guided
from fcs.core.directions import Gradient, Newton
from fcs.core.levels import Level, ddpm_levels, flow_levels, pairs
from fcs.core.per_sample import RecordNoise
from fcs.samplers import DDIM, InexactNewton, ProjectedNewton
from fcs.samplers.base import ddim_step, with_eta
from fcs.samplers.projected_newton import ahead, fitted, moved

SHAPE = (1, 8, 8)


def noise() -> RecordNoise:
    return RecordNoise([1, 2], dtype=torch.float64)


def left() -> Tensor:
    known = torch.zeros(2, *SHAPE, dtype=torch.float64)
    known[..., :4] = 1
    return known


def walk(gaussian: Gaussian, x: Tensor, levels: list[Level], second: bool) -> Tensor:
    """Plain sampling of a Gaussian prior by DDIM's step on x_0 or on that ``ahead``, without a constraint."""
    before = None
    for t, s in pairs(levels):
        x0 = gaussian.x0(x, t.alpha, t.sigma)
        D = x0 if before is None else ahead(x0, t, s, *before)
        x, before = ddim_step(x, D, t, s, noise()), (t, x0) if second else None
    return x


@pytest.mark.parametrize("second", [False, True])
def test_the_error_of_a_step_falls_with_its_order(gaussian: Gaussian, second: bool) -> None:
    # From a middling level to a low one, uniform in log SNR: twice the steps, half the error or a quarter of it.
    def levels(steps: int) -> list[Level]:
        logs = torch.linspace(-1, 2, steps + 1, dtype=torch.float64).tolist()
        squares = [1 / (1 + torch.tensor(-2 * log, dtype=torch.float64).exp().item()) for log in logs]
        return [Level(0, square**0.5, (1 - square) ** 0.5) for square in squares]

    x = noise()(gaussian.shape)
    exact = walk(gaussian, x, levels(2048), True)
    errors = [(walk(gaussian, x, levels(n), second) - exact).norm().item() for n in (32, 64)]
    assert errors[0] / errors[1] == pytest.approx(4 if second else 2, rel=0.15)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_first_order_without_corrections_is_ddim_of_that_eta(
    small_network: nn.Module, abar: Tensor, eta: float
) -> None:
    levels = ddpm_levels(abar, 6)
    known = [levels[0], *(with_eta(t, s, eta) for t, s in pairs(levels))]
    x, free = noise()(SHAPE), Known(torch.zeros(2, *SHAPE, dtype=torch.float64), 0 * left())
    denoise = Guided(Denoiser(small_network, "eps"))
    with torch.no_grad():
        ours = ProjectedNewton(order=1, eta=eta)(x, levels, denoise, free, noise())
        theirs = DDIM()(x, known, denoise, free, noise())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_without_its_five_changes_it_is_newton(small_network: nn.Module, abar: Tensor) -> None:
    levels = [level._replace(noise_std=0.0) for level in ddpm_levels(abar, 5)]
    denoise, constraint = Guided(Denoiser(small_network, "eps")), Known(noise()(SHAPE), left())
    bare = ProjectedNewton(moves=[2], first=0.4, last=0.2, growth=(1, 1), fit=False, project=False, order=1, eta=0)
    with torch.no_grad():
        found = [
            s(noise()(SHAPE), levels, denoise, constraint, noise()) for s in (bare, InexactNewton(None, [0.4, 0.2]))
        ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


@pytest.mark.parametrize("flow", [False, True])
def test_known_entries_come_out_as_they_are(small_network: nn.Module, abar: Tensor, flow: bool) -> None:
    levels = flow_levels(10) if flow else ddpm_levels(abar, 10)
    denoise, y = Guided(Denoiser(small_network, "flow" if flow else "eps")), noise()(SHAPE)
    with torch.no_grad():
        x0 = ProjectedNewton()(noise()(SHAPE), levels, denoise, Known(y, left()), noise())
    assert x0.isfinite().all()
    torch.testing.assert_close(left() * x0, left() * y, rtol=0, atol=1e-12)


def test_the_profile_is_stretched_over_the_levels(small_network: nn.Module, abar: Tensor) -> None:
    sampler = ProjectedNewton(moves=[0, 2, 1, 0])
    assert sampler.plan(4) == [0, 2, 1, 0]
    assert sampler.plan(8) == [0, 0, 2, 2, 1, 1, 0, 0]
    assert sampler.plan(2) == [2, 0]
    assert sampler.plan(1) == [1]
    assert ProjectedNewton().calls(10) == 40
    counter = CallCounter()
    denoise = counter(Guided(Denoiser(small_network, "eps")))
    with torch.no_grad():
        sampler(noise()(SHAPE), ddpm_levels(abar, 8), denoise, Known(noise()(SHAPE), left()), noise())
    assert counter.calls == sampler.calls(8) == 8 + 2 * 6


def test_step_sizes_fall_within_a_level_and_grow_from_level_to_level() -> None:
    sampler = ProjectedNewton(moves=[3, 0, 1], first=0.5, last=0.1, growth=(1, 3))
    for found, expected in zip(sampler.step_sizes(3), [[0.5, 0.3, 0.1], [], [1.5]], strict=True):
        assert found == pytest.approx(expected)
    assert sampler.step_sizes(1) == [[]]  # the middle of the profile


def test_larger_steps_are_larger_moves(small_network: nn.Module, abar: Tensor) -> None:
    levels, y = ddpm_levels(abar, 2), noise()(SHAPE)
    told: list[Tensor] = []

    def watched(x: Tensor, level: Level) -> Tensor:
        told.append(x)
        return Guided(Denoiser(small_network, "eps"))(x, level)

    with torch.no_grad():
        ProjectedNewton(moves=[1], first=0.5, growth=(0.2, 4))(
            noise()(SHAPE), levels, watched, Known(y, left()), noise()
        )
    # At each level: where it stands, the perturbed point, where it has moved to.
    moves = [(told[i + 2] - told[i]).flatten(1).abs().amax(1) for i in (0, 3)]
    torch.testing.assert_close(torch.stack(moves), torch.tensor([[0.1] * 2, [2.0] * 2], dtype=torch.float64))


def test_a_fit_in_all_that_j_makes_of_known_entries_is_the_posterior_mean(gaussian: Gaussian) -> None:
    # E[x_0 | x_t, y] = x_0 + J A^T (A J A^T)^-1 (y - A x_0): Cov[x_0 | x_t] is J times a number.
    level = Level(0, 0.6, 0.8)
    x, y = noise()(gaussian.shape), noise()(gaussian.shape) + 1
    known = torch.zeros_like(y)
    known[..., :2] = 1
    x0, J = gaussian.x0(x, level.alpha, level.sigma), gaussian.jacobian(level.alpha, level.sigma)
    places = known[0].flatten().nonzero()[:, 0]
    seen = [J[:, place].expand(2, -1).view_as(x0) for place in places]
    found = fitted(x0, Known(y, known), seen, ridge=1e-14)
    missing = (y - x0).flatten(1)[:, places]
    expected = x0.flatten(1) + missing @ torch.linalg.solve(J[places][:, places], J[places])
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-7)


def test_the_fit_remembers_the_latest_changes_of_earlier_levels(
    small_network: nn.Module, abar: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[Tensor]] = []

    def watched(x0: Tensor, constraint: Known, seen: list[Tensor]) -> Tensor:
        told.append(list(seen))
        return fitted(x0, constraint, seen)

    monkeypatch.setattr("fcs.samplers.projected_newton.fitted", watched)
    denoise = Guided(Denoiser(small_network, "eps"))
    with torch.no_grad():
        ProjectedNewton(moves=[1, 2, 0, 1], memory=3)(
            noise()(SHAPE), ddpm_levels(abar, 4), denoise, Known(noise()(SHAPE), left()), noise()
        )
    # J e and the change by the move, for each move: 2 at the first level, 4 at the second beside those, then the three
    # that are left, and after the last move these and its own.
    assert [len(seen) for seen in told] == [2, 6, 3, 5]
    assert all(kept is seen for kept, seen in zip(told[2], told[1], strict=False))
    assert all(kept is seen for kept, seen in zip(told[3][2:], told[2], strict=True))


def test_a_fit_leaves_less_of_the_error_and_nothing_else_where_nothing_was_seen() -> None:
    x0, constraint = noise()(SHAPE), Known(RecordNoise([3, 4], dtype=torch.float64)(SHAPE), left())
    seen = [RecordNoise([5 + i, 7 + i], dtype=torch.float64)(SHAPE) for i in range(3)]
    assert (constraint.loss(fitted(x0, constraint, seen)) < constraint.loss(x0)).all()
    assert fitted(x0, constraint, []) is x0
    met = Known(x0, left())
    torch.testing.assert_close(fitted(x0, met, seen), x0, rtol=0, atol=0)
    torch.testing.assert_close(fitted(x0, constraint, [0 * x0]), x0, rtol=0, atol=0)


def test_what_was_seen_is_j_of_the_error_and_the_change_of_each_move(gaussian: Gaussian) -> None:
    level = Level(0, 0.6, 0.8)
    x, y = noise()(gaussian.shape), noise()(gaussian.shape) + 1
    J, constraint = gaussian.jacobian(level.alpha, level.sigma), Known(y, torch.ones_like(y))

    def f(x: Tensor, level: Level) -> Tensor:
        return gaussian.x0(x, level.alpha, level.sigma)

    for direction, count in ((Newton(), 2), (Gradient(), 1)):
        after, _, seen = moved(x, level, f, constraint, direction, [0.5])
        assert len(seen) == count
        error = constraint.error(f(x, level)).flatten(1)
        expected = [error @ J.T, (after - x).flatten(1) @ J.T][-count:]
        for found, wanted in zip(seen, expected, strict=True):
            torch.testing.assert_close(found.flatten(1), wanted, rtol=0, atol=1e-9)


def test_it_wants_an_error_that_is_a_displacement(small_network: nn.Module, abar: Tensor) -> None:
    blurred = Measured(noise()(SHAPE), lambda x: x, lambda x: x)
    with pytest.raises(TypeError, match="expected the constraint Projectable"):
        ProjectedNewton()(noise()(SHAPE), ddpm_levels(abar, 2), lambda x, level: x, blurred, noise())


def test_without_projection_any_error_does(small_network: nn.Module, abar: Tensor) -> None:
    levels = [level._replace(noise_std=0.0) for level in ddpm_levels(abar, 5)]
    denoise, blurred = Guided(Denoiser(small_network, "eps")), Measured(noise()(SHAPE), lambda x: x, lambda x: x)
    bare = ProjectedNewton(moves=[1], first=0.4, growth=(1, 1), project=False, order=1, eta=0, prior_variance=1)
    assert (bare.needs, ProjectedNewton().needs) == (Constraint, Projectable)
    with torch.no_grad():
        found = [s(noise()(SHAPE), levels, denoise, blurred, noise()) for s in (bare, InexactNewton(None, [0.4]))]
    torch.testing.assert_close(*found, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"moves": ()}, r"moves=\[\]"),
        ({"moves": (1, -1)}, r"moves=\[1, -1\]"),
        ({"first": 0.0}, "first=0.0"),
        ({"last": -1.0}, "last=-1.0"),
        ({"growth": (1.0, 0.0)}, "growth=0.0"),
        ({"order": 3}, "order=3"),
        ({"memory": -1}, "memory=-1"),
        ({"eta": 1.5}, "eta=1.5"),
        ({"prior_variance": -1}, "prior_variance=-1"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ProjectedNewton(**given)  # type: ignore[arg-type]

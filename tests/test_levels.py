"""Noise levels: what the network is told and what (alpha, sigma) belong to it."""

import pytest
import torch
from torch import Tensor

from fcs.core.constraints import Known
from fcs.core.levels import Spacing, ddpm_levels, flow_levels, pairs
from fcs.core.per_sample import RecordNoise
from fcs.models import Model
from fcs.samplers import DDIM
from fcs.tasks.sampling_loop import SamplingLoop


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 50, 1000])
@pytest.mark.parametrize("spacing", ["even", "paper"])
def test_diffusion_walks_from_its_last_level_to_the_clean_picture(abar: Tensor, steps: int, spacing: str) -> None:
    levels = ddpm_levels(abar, steps, spacing)
    assert len(levels) == steps + 1
    assert levels[0].sigma == pytest.approx((1 - abar[-1].item()) ** 0.5, abs=1e-12)
    assert (levels[-1].alpha, levels[-1].sigma, levels[-1].noise_std) == (1.0, 0.0, 0.0)
    for t, s in pairs(levels):
        assert t.alpha**2 + t.sigma**2 == pytest.approx(1, abs=1e-12)
        assert t.sigma > s.sigma
        assert t.t > s.t or (s.t == t.t == 0 and s.sigma == 0)
        assert 0 <= s.noise_std <= s.sigma  # else the step to s could not keep its noise


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 1000])
def test_even_levels_read_abar_where_the_network_is_told(abar: Tensor, steps: int) -> None:
    for level in ddpm_levels(abar, steps)[:-1]:
        assert level.alpha**2 == pytest.approx(abar[int(level.t)].item(), abs=1e-12)


def test_twenty_levels_are_the_authors(abar: Tensor) -> None:
    even, paper = ddpm_levels(abar, 20), ddpm_levels(abar, 20, "paper")
    assert [level.t for level in even[:-1]] == list(range(999, 0, -50))
    assert [level.t for level in paper[:-1]] == list(range(1000, 0, -50))
    assert [level[1:3] for level in even] == [level[1:3] for level in paper]
    assert [level.noise_std for level in even[1:]] == [level.noise_std for level in paper[1:]]


@pytest.mark.parametrize("steps", [20, 1000])
def test_fresh_noise_is_ancestral_samplings_with_the_one_step_beta(abar: Tensor, steps: int) -> None:
    # beta_t (1 - abar_s) / (1 - abar_t): with all levels the posterior variance of Ho et al. 2020, eq. 7.
    for t, s in pairs(ddpm_levels(abar, steps)[:-1]):
        i = int(t.t)
        variance = (1 - abar[i] / abar[i - 1]) * (1 - abar[int(s.t)]) / (1 - abar[i])
        assert s.noise_std**2 == pytest.approx(variance.item(), rel=1e-9)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_diffusion_refuses_steps_that_it_does_not_have(abar: Tensor, steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps={steps}"):
        ddpm_levels(abar, steps)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_walks_a_straight_line(shift: float) -> None:
    levels = flow_levels(10, shift)
    assert levels[0][:3] == (1000.0, 0.0, 1.0)
    assert levels[-1][:3] == (0.0, 1.0, 0.0)
    for t, s in pairs(levels):
        assert t.alpha + t.sigma == pytest.approx(1, abs=1e-12)
        assert t.t == pytest.approx(1000 * t.sigma)
        assert t.sigma > s.sigma
        assert s.noise_std == 0


def test_flow_shift_multiplies_the_noise_to_signal_ratio() -> None:
    for level, moved in zip(flow_levels(10)[1:], flow_levels(10, 3.0)[1:], strict=True):
        assert moved.sigma / moved.alpha == pytest.approx(3 * level.sigma / level.alpha, abs=1e-12)


def test_flow_refuses_no_steps() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        flow_levels(0)


class Start(DDIM):
    """Gives back what it was given to start from."""

    def __call__(self, x: Tensor, *rest: object) -> Tensor:
        return x


@pytest.mark.parametrize("spacing", ["even", "paper"])
def test_published_noise_has_a_deviation_of_one_others_the_levels(
    abar: Tensor, spacing: Spacing, digits: Model
) -> None:
    levels = ddpm_levels(abar, 5, spacing)
    loop = SamplingLoop(digits, Start(), levels, RecordNoise([7]))
    spread = 1.0 if spacing == "paper" else levels[0].sigma
    expected = spread * RecordNoise([7])(digits.shape)
    torch.testing.assert_close(loop.sample(loop.denoiser([""]), Known(expected, expected)), expected)

"""Levels are those of the scheduler beside a model: its shift, its shift for the size, its last sigma."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from fcs.core.errors import UsageError
from fcs.core.levels import flow_levels
from fcs.models.schedules import schedule_of

SHAPE = (16, 64, 96)
DYNAMIC: dict[str, Any] = {"use_dynamic_shifting": True}


def schedule(scheduler: Any) -> Any:
    predicts, made = schedule_of({**scheduler.config, "_class_name": type(scheduler).__name__}, "own")
    assert predicts == "flow"
    return made.at(SHAPE)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"shift": 3.0},
        DYNAMIC,
        DYNAMIC | {"time_shift_type": "linear", "base_shift": 0.2, "max_shift": 2.0},
        DYNAMIC | {"shift_terminal": 0.02},
        {"shift": 3.0, "use_karras_sigmas": True},
    ],
)
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_flow_visits_its_schedulers_own_list(config: dict[str, Any], steps: int) -> None:
    """With the sigmas and the shift that the pipelines of flows hand to it."""
    if steps == 1 and ("shift_terminal" in config or "use_karras_sigmas" in config):
        pytest.skip("diffusers needs two levels here")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    limits = [scheduler.config[name] for name in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")]
    mu = calculate_shift(64 * 96 // 4, *limits)
    own = diffusers.FlowMatchEulerDiscreteScheduler(**config)
    own.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu if "use_dynamic_shifting" in config else None)
    levels = schedule(scheduler).levels(steps)
    # The same float32 arithmetic on sigmas that differ by float64's rounding.
    assert [level.sigma for level in levels] == pytest.approx(own.sigmas.tolist(), abs=2e-6)
    assert [level.t for level in levels[:-1]] == pytest.approx(own.timesteps.tolist(), abs=2e-3)
    assert all(level.alpha == 1 - level.sigma for level in levels)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_fixed_shift_is_the_closed_form(shift: float) -> None:
    levels = schedule(diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)).levels(10)
    torch.testing.assert_close(torch.tensor(levels), torch.tensor(flow_levels(10, shift)), rtol=1e-6, atol=1e-6)


def test_a_larger_picture_begins_with_more_noise() -> None:
    made = schedule(diffusers.FlowMatchEulerDiscreteScheduler(**DYNAMIC))
    small, large = (made.at((4, side, side)).levels(4)[2].sigma for side in (32, 128))
    assert small < large - 0.05


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # within diffusers
@pytest.mark.parametrize("kind", [diffusers.UniPCMultistepScheduler, diffusers.DPMSolverMultistepScheduler])
def test_other_schedulers_of_flows(kind: Any) -> None:
    own = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    levels = schedule(own).levels(4)
    own.set_timesteps(4)
    assert [level.sigma for level in levels] == own.sigmas.tolist()
    assert [level.t for level in levels[:-1]] == own.timesteps.tolist()


def test_heuns_repeated_levels_are_visited_once() -> None:
    levels = schedule(diffusers.FlowMatchHeunDiscreteScheduler()).levels(4)
    sigmas = [level.sigma for level in levels]
    assert sigmas == sorted(set(sigmas), reverse=True)
    assert len(sigmas) == 5


def test_a_scheduler_of_another_release_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"\Amodel\.name=own: expected a scheduler of this diffusers, not Flow"):
        schedule_of({"_class_name": "FlowMatchX"}, "own")

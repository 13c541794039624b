"""Settings that are known to break are told of before the run, and the others are not."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import fcs
from fcs.core.directions import Gradient, Newton
from fcs.engine.config import load_config
from fcs.engine.setting_warnings import warn
from fcs.models import Model
from fcs.samplers import DDIM, InexactNewton

BROKEN = {
    "guidance=12": "guidance=12 to the last level",
    "steps=4": "move x_t by 2 at most",
    "trainer.precision=bf16": "lost in the rounding of trainer.precision=bf16",
    "trainer.tf32=true": "lost in the rounding of trainer.tf32=true: take auto, or 0.05 or more",
}


def told(settings: list[str], caplog: pytest.LogCaptureFixture) -> str:
    short = [] if "sampler=ddim" in settings else ["sampler.step_sizes=[0.5]"]
    run, _ = load_config.load(["emoji_inpaint"], [*short, *settings])
    with caplog.at_level(logging.WARNING, logger="fcs"):
        warn(run)
    return caplog.text


@pytest.mark.parametrize("setting", BROKEN)
def test_what_breaks_is_told(setting: str, caplog: pytest.LogCaptureFixture) -> None:
    assert BROKEN[setting] in told([setting], caplog)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["guidance=10"],
        ["guidance=12", "guidance_stop=0.4"],
        ["guidance=12", "sampler=ddim"],
        ["steps=4", "sampler.step_sizes=[0.5, 0.5]"],
        ["steps=1", "sampler=ddim"],
        ["trainer.precision=bf16", "sampler.difference=0.5"],
        ["trainer.tf32=true", "sampler.difference=auto"],
        ["trainer.precision=bf16", "sampler.direction=gradient"],
    ],
)
def test_what_works_is_not(settings: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert told(settings, caplog) == ""


def test_a_call_from_python_tells_of_a_difference_that_16_bits_lose(caplog: pytest.LogCaptureFixture) -> None:
    image, hole = np.zeros((16, 16), np.uint8), np.ones((16, 16), bool)
    half, full = (fcs.load("digits-16", device="cpu", precision=one) for one in ("bf16", "32"))

    def said(model: Model, sampler: InexactNewton | None) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="fcs"):
            fcs.inpaint(model, image, hole, steps=8, sampler=sampler, progress=False)
        return caplog.text

    assert "a difference of 0.005 is lost in the rounding" in said(half, None)
    assert said(half, InexactNewton(Newton("auto"), [0.5])) == ""
    assert said(half, InexactNewton(Gradient(), [0.5])) == ""
    assert said(full, None) == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 7}, "steps=7 times step_sizes of 0.5 in all move x_t by 3.5 at most"),
        ({"guidance": 12.0}, "guidance=12 to the last level"),
        ({"guidance": 12.0, "guidance_stop": 0.4}, ""),
        ({"steps": 1, "sampler": DDIM()}, ""),
        ({}, ""),
    ],
)
def test_a_call_from_python_tells_of_the_same(
    settings: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    image, hole = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    given = {"steps": 8, "sampler": InexactNewton(step_sizes=[0.5]), **settings}
    with caplog.at_level(logging.WARNING, logger="fcs"):
        fcs.inpaint(fcs.load("emoji-64", device="cpu"), image, hole, prompt="sun", progress=False, **given)
    assert words in caplog.text
    assert len(caplog.records) == bool(words)

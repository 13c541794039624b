"""Settings that are known to break are told of before the run, and the others are not."""

from __future__ import annotations

import logging

import pytest

from fcs.engine.config import load_config
from fcs.engine.setting_warnings import warn

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

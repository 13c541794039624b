"""Whether one setting equals another: shares of a gap, and when nothing can be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fcs.bench.cli import main
from fcs.bench.paired import aligned, gap_closed

GROUPS = torch.arange(40)
NOISE = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("share", "verdict"), [(1.0, True), (1.2, True), (0.97, True), (0.9, False), (0.0, False)])
def test_a_share_of_the_gap(share: float, verdict: bool) -> None:
    worst, best = 2 + 0.1 * NOISE, 1 + 0.1 * NOISE
    found = gap_closed(worst, best, worst - share * (worst - best), GROUPS)
    assert found["share"]["mean"] == pytest.approx(share)
    assert found["gap"]["mean"] == pytest.approx(1)
    assert found["equal"] is verdict


def test_a_wide_interval_is_not_equal() -> None:
    worst, best = torch.full((40,), 2.0, dtype=torch.float64), torch.ones(40, dtype=torch.float64)
    found = gap_closed(worst, best, best + 2 * (NOISE - NOISE.mean()), GROUPS)
    assert found["share"]["mean"] == pytest.approx(1)
    assert found["share"]["low"] < 0.8
    assert found["equal"] is False


def test_without_a_gap_nothing_is_decided() -> None:
    found = gap_closed(1 + NOISE, 1 - 0.01 + NOISE.flip(0), 1 + NOISE, GROUPS)
    assert found["gap"]["low"] < 0
    assert found["equal"] is None


def test_renderings_of_one_glyph_are_drawn_together() -> None:
    worst, best = 2 + 0 * NOISE, 1 + 0 * NOISE
    found = 1 + NOISE
    wide = gap_closed(worst, best, found, GROUPS // 10)["share"]
    narrow = gap_closed(worst, best, found, GROUPS)["share"]
    assert wide["mean"] == narrow["mean"]
    assert (wide["low"], wide["high"]) != (narrow["low"], narrow["high"])


def test_records_meet_by_name() -> None:
    one = {"record": ["a", "b", "c"], "group": [0, 1, 2], "energy_own": [1.0, 2.0, 3.0]}
    two = {"record": ["c", "a"], "group": [0, 1], "energy_own": [30.0, 10.0]}
    (first, second), groups = aligned([one, two], "energy_own")
    assert (first.tolist(), second.tolist(), groups.tolist()) == ([1, 3], [10, 30], [0, 2])


def test_the_command_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("worst", 2.0), ("best", 1.0), ("found", 1.0)):
        single = {"record": [f"r{i}" for i in range(5)], "group": list(range(5)), "energy_random": [value] * 5}
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluate.json").write_text(json.dumps({"single": single}))
    options = [f"--{name}={tmp_path / name}" for name in ("worst", "best", "found")]
    assert main(["equal", *options, f"--out={tmp_path}/equal.json"]) == 0
    assert "share closed 1 (1 to 1), difference 0 (0 to 0), equal" in capsys.readouterr().out
    assert json.loads((tmp_path / "equal.json").read_text())["energy_random"]["equal"] is True
    assert main(["equal", *options, f"--best={tmp_path}", "--out=x"]) == 2
    assert "--best=" in capsys.readouterr().err

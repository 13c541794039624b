"""The residual on the way down: of what the denoiser gave last at each level; looking changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.reports import write_run
from torch import Tensor

from fcs.core.constraints import Known
from fcs.core.levels import Level
from fcs.shards.store.local import LocalStore
from fcs.tasks.residual_trace import ResidualTrace
from fcs.tools.cli.predict import main
from fcs.tools.report.finished_run import read_finished_run
from fcs.tools.report.residual_curve import residual_chart


def test_the_last_look_at_each_level_counts() -> None:
    looks: list[Tensor] = []

    class Counted(Known):
        def residual(self, x0: Tensor) -> Tensor:
            looks.append(x0)
            return super().residual(x0)

    target = torch.zeros(2, 1, 4, 4)
    found = ResidualTrace(Counted(target, torch.ones(2, 1, 4, 4)))
    denoise = found(lambda x, level: x)
    high, low = Level(900, 0.1, 0.9), Level(100, 0.9, 0.1)
    for value, level in ((5, high), (3, high), (2, low), (4, high), (1, low)):  # back up once, as restarts go
        denoise(torch.tensor([value, 10.0 * value]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4), level)
    assert found.residuals().tolist() == [[4, 1], [40, 10]]
    assert len(looks) == 4  # not once a call
    assert ResidualTrace(Known(target, target)).residuals().numel() == 0


def test_a_run_keeps_it(digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pq.read_table(digits_run / "metrics" / "mixed.parquet")
    courses, residuals = rows["course"].to_pylist(), rows["residual"].to_pylist()
    assert {len(one) for one in courses} == {2}
    assert [one[-1] for one in courses] == pytest.approx(residuals, rel=1e-5)  # what came last is the result
    assert sum(one[0] > one[-1] for one in courses) > 20
    monkeypatch.setattr(Known, "cheap", False)
    options = ["steps=2", "data.limit=24", "data.batch_size=8", "data.workers=1"]
    assert main(["--config", "digits_inpaint", f"out={tmp_path}/out", *options]) == 0
    unseen = pq.read_table(tmp_path / "out" / "metrics" / "mixed.parquet")
    assert unseen["course"].null_count == 24
    assert (tmp_path / "out/shards/mixed.tar").read_bytes() == (digits_run / "shards/mixed.tar").read_bytes()


def test_its_figure_is_of_the_median_record(tmp_path: Path) -> None:
    write_run(tmp_path / "out", tmp_path / "in.tar", [f"k{i}" for i in range(11)])
    run = read_finished_run(LocalStore(tmp_path / "out"), "run")
    chart = residual_chart([run])
    assert chart is not None
    area, line = chart.paths
    assert (area.area, line.area) == (True, False)
    beginning, end = (point.split() for point in line.d[1:].split("L"))
    assert float(beginning[1]) == 8  # .5 is the highest
    assert float(end[1]) == pytest.approx(136 - 128 * 0.05 / 0.5, abs=0.01)  # of 0, .01, ... .1 the middle one

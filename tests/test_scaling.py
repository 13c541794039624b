"""The computed runs of jobs/scaling.py: what must hold for any costs, and costs that are counted here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from scale.costs import Costs, ledger_costs
from scale.rates import cpu_of_batches
from scaling import Plan, breaks, predicted, show

COSTS = Costs(10.0, 0.1, 0.001, 24, 8, 80, 4, 12, 7)
PLAN = Plan(records=100_000, shard=1000, batch=16, seconds=1.0, server=800.0)


def test_one_gpu_does_nothing_but_records() -> None:
    alone = predicted(PLAN, replace(COSTS, startup=0.0, merge=0.0), 1)
    assert alone["hours"] == pytest.approx(100_000 / 3600)
    assert (alone["efficiency"], alone["tail_seconds"], alone["waiting_per_second"]) == (1.0, 0.0, 0.0)
    assert alone["files"] == 3 * 100 + 1 + 4


def test_more_gpus_are_faster_and_ask_for_more() -> None:
    table = [predicted(PLAN, COSTS, gpus) for gpus in (1, 2, 8, 64, 512)]
    for few, many in pairwise(table):
        assert many["hours"] < few["hours"]
        assert many["efficiency"] <= few["efficiency"] <= 1
        assert many["working_per_second"] > few["working_per_second"]
        assert many["restart_seconds"] > few["restart_seconds"]
    slice_seconds = 8 * PLAN.batch * PLAN.seconds
    assert all(row["tail_seconds"] <= slice_seconds + PLAN.shard * COSTS.merge for row in table)
    assert len(show(table).splitlines()) == 6
    found = breaks(table, PLAN)
    assert found["working_asks_more_than_the_server_does"] == 512
    assert found["restart_of_a_run_half_done_takes_over_a_minute"] == 512
    assert breaks(table, replace(PLAN, server=1e9))["working_asks_more_than_the_server_does"] is None


def test_costs_are_counted(tmp_path: Path) -> None:
    costs = Costs(1.0, **ledger_costs(tmp_path / "ledger", batch=2, size=10))
    for name in ("per_part", "per_slice", "per_shard", "per_look", "per_claim", "per_start"):
        assert 1 <= getattr(costs, name) < 200, name
    assert ledger_costs(tmp_path / "again", batch=3, size=10)["per_part"] == costs.per_part


def test_cpu_time_between_batches_of_each_process(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("7 1.0\n8 5.0\n7 1.5\n8 5.25\n7 3.5\n")
    assert sorted(cpu_of_batches(tmp_path / "log")) == [0.25, 0.5, 2.0]

"""The simulated runs of jobs/scaling.py: what must hold for any costs, and the real ledger beside them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from scale.costs import Costs
from scale.ledger_costs import ledger_costs
from scale.meters import CallMeter, file_meter
from scale.rates import cpu_of_batches
from scale.replay import replay
from scale.restart import restart_costs
from scale.server import Server
from scale.simulation import Plan, Run
from scaling import breaks, show, simulated

from fcs.shards.ledger.claims import HEARTBEAT
from fcs.shards.store.local import LocalStore

NOTHING = Costs()
ASKED = Costs(
    start=27, committed=3, learn=0.01, met=3, slice=10, part=24, shard=45, merged=2, look=10, merge=0.001
)  # fmt: skip
PLAN = Plan(records=64_000, shard=1000, batch=16, seconds=1.0, startup=10.0)
FAST = (1e9, 0.0)


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Costs:
    return ledger_costs(file_meter(tmp_path_factory.mktemp("costs") / "disk"), 2, 10)


@pytest.mark.parametrize("world", [1, 2, 8, 64])
def test_what_asks_for_nothing_takes_the_time_of_its_records(world: int) -> None:
    plan = replace(PLAN, spread=0.0, startup=0.0)
    outcome = Run(plan, NOTHING, Server(*FAST), world).simulate()
    assert outcome.seconds == pytest.approx(plan.records / world)
    assert outcome.operations == pytest.approx(plan.records / HEARTBEAT)


def test_more_processes_are_faster_and_ask_for_more() -> None:
    table = [simulated(PLAN, ASKED, (10_000.0, 0.0005), world) for world in (1, 8, 64, 512)]
    for few, many in pairwise(table):
        assert many["hours"] < few["hours"]
        assert many["efficiency"] <= few["efficiency"] <= 1.0 + PLAN.spread
        assert many["operations_per_second"] > few["operations_per_second"]
        assert many["restart_seconds"] > few["restart_seconds"]
    assert len(show(table).splitlines()) == 5
    found = breaks(table)
    assert found["the_store_is_more_than_half_used"] is None
    assert found["efficiency_below_95_percent"] in ([64, PLAN.records], [512, PLAN.records])  # there are 512 slices


def test_a_store_that_does_too_little_sets_the_pace() -> None:
    plan = Plan(records=100_000, shard=1000, batch=16, seconds=1.0)
    outcome = Run(plan, NOTHING, Server(*FAST), 64).simulate()
    slow = Run(plan, replace(NOTHING, part=100.0), Server(100.0, 0.0), 64).simulate()
    assert slow.operations == pytest.approx(100 * 100_000 / 16, rel=0.02)
    assert slow.seconds >= slow.operations / 100
    assert slow.seconds > 3 * outcome.seconds


def test_a_skipped_middle_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed of a run agrees with what is simulated."""
    plan = Plan(records=128_000, shard=1000, batch=16, seconds=1.0)
    skipped = Run(plan, ASKED, Server(10_000.0, 0.0005), 8).simulate()
    monkeypatch.setattr("scale.simulation.OWN", 10**9)
    whole = Run(plan, ASKED, Server(10_000.0, 0.0005), 8).simulate()
    assert skipped.seconds == pytest.approx(whole.seconds, rel=0.01)
    assert skipped.operations == pytest.approx(whole.operations, rel=0.1)


@pytest.mark.parametrize(("world", "plan"), [(4, Plan(256, 64, 2, 1.0)), (16, Plan(512, 32, 2, 1.0))])
def test_the_real_ledger_takes_what_is_simulated(tmp_path: Path, costs: Costs, world: int, plan: Plan) -> None:
    server = (10_000.0, 0.0005)
    real = replay(file_meter(tmp_path / "check"), "run", plan, world, Server(*server))
    said = Run(plan, replace(costs, merge=0.0), Server(*server), world).simulate()
    assert abs(real.seconds - said.seconds) <= plan.slice_seconds / 2
    assert real.operations == pytest.approx(said.operations, rel=0.1)


def test_costs_are_counted(tmp_path: Path, costs: Costs) -> None:
    for name in ("start", "met", "slice", "part", "shard", "merged", "look"):
        assert 1 <= getattr(costs, name) < 100, name
    assert costs.committed == 3  # the sizes of its three files
    assert costs.learn < 0.1
    calls = ledger_costs(CallMeter(lambda name: LocalStore(tmp_path / name)), 3, 10)
    assert calls.committed == 0
    assert 1 <= calls.part < costs.part


def test_cpu_time_between_batches_of_each_process(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("7 1.0\n8 5.0\n7 1.5\n8 5.25\n7 3.5\n")
    assert sorted(cpu_of_batches(tmp_path / "log")) == [0.25, 0.5, 2.0]


def test_starting_again_asks_for_little_with_a_manifest(tmp_path: Path) -> None:
    found = restart_costs(tmp_path / "again", 300)
    for name in ("status", "complete", "start"):
        assert found["without"][name]["operations"] >= 300
        assert found["with"][name]["operations"] <= 30

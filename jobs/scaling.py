"""How a run scales: measured on this machine, simulated for 8 to 4096 processes and up to 10^9 records.

    python jobs/scaling.py --out runs/scaling                          all of it, some minutes
    python jobs/scaling.py --out runs/scaling --processes 0 --no-s3    what needs no model and no server

Measured: pictures a second of one process and of two that share a run, one thread each, in turn, and what they cost in
CPU seconds, which says more where other programs run too. What the ledger asks of a store to take a slice, write a
batch, commit a shard, look at others' shards and start: on this disk, on one that answers each operation --far seconds
later, by calls as an object store is asked, and on an S3 server on loopback; what starting again costs with so many
--committed shards.

Simulated: runs in which a record takes --seconds, on a file server and on an object store that do so many operations
a second and answer so late (assumptions, which the report names: take your own). The real ledger in simulated time,
with 8 and 64 processes, says how far the simulation is right. Writes OUT/scaling.json and prints the tables.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from command import command
from scale.costs import Costs
from scale.ledger_costs import ledger_costs
from scale.meters import CallMeter, file_meter, object_meter
from scale.rates import side_by_side
from scale.replay import replay
from scale.restart import restart_costs
from scale.s3_server import s3_server
from scale.server import Server
from scale.simulation import Plan, Run

from fcs.bench.origin import origin, write_json
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.ends import Parser

WORLDS = (8, 64, 512, 4096)
RUNS = ((10**6, 1000), (10**7, 1000), (10**8, 10_000), (10**9, 10_000))  # records, and of a shard
SERVERS = {"file server": (10_000.0, 0.0005), "object store": (5000.0, 0.02)}  # operations a second, seconds of one
CHECKED = ((8, Plan(16 * 256, 256, 4, 1.0)), (64, Plan(64 * 64, 64, 4, 1.0)))  # processes, and the run that they share
MUCH = 60.0  # seconds that a start may wait for the store


def simulated(plan: Plan, costs: Costs, server: tuple[float, float], world: int) -> dict[str, Any]:
    """A run on so many processes, from nothing, and what starting it again when half of it is committed costs."""
    outcome = Run(plan, costs, Server(*server), world).simulate()
    rate, latency = server
    again = costs.start + costs.committed * plan.shards / 2
    ideal = plan.records * plan.seconds / world
    return {
        "processes": world,
        "records": plan.records,
        "hours": outcome.seconds / 3600,
        "efficiency": ideal / outcome.seconds,
        "tail_seconds": outcome.seconds - outcome.idle,
        "operations_per_second": outcome.at_work,
        "used": outcome.at_work / rate,
        "restart_seconds": max(world * again / rate, again * latency),
    }


def breaks(table: list[dict[str, Any]]) -> dict[str, list[int] | None]:
    """The smallest number of processes, with the number of records, at which each thing goes wrong; None: nowhere."""
    tests: dict[str, Callable[[dict[str, Any]], bool]] = {
        "efficiency_below_95_percent": lambda row: row["efficiency"] < 0.95,
        "the_store_is_more_than_half_used": lambda row: row["used"] > 0.5,
        "a_restart_waits_over_a_minute": lambda row: row["restart_seconds"] > MUCH,
    }
    rows = sorted(table, key=lambda row: (row["processes"], row["records"]))
    found = {name: next((row for row in rows if test(row)), None) for name, test in tests.items()}
    return {name: [row["processes"], row["records"]] if row else None for name, row in found.items()}


def checked(folder: Path, costs: Costs) -> list[dict[str, Any]]:
    """The simulation beside the real ledger in simulated time."""
    found = []
    for world, plan in CHECKED:
        real = replay(file_meter(folder / str(world)), "run", plan, world, Server(*SERVERS["file server"]))
        said = Run(plan, replace(costs, merge=0.0), Server(*SERVERS["file server"]), world).simulate()
        both = {"real": real, "simulated": said}
        numbers = {name: {"seconds": one.seconds, "operations": one.operations} for name, one in both.items()}
        found.append({"processes": world, "plan": asdict(plan), **numbers})
    return found


def show(table: list[dict[str, Any]]) -> str:
    """A table for people."""
    head = "processes    records      hours  efficiency  tail s  operations/s   used  restart s"
    line = "{processes:9d} {records:10.0e} {hours:10.2f} {efficiency:11.3f} {tail_seconds:7.0f}"
    line += " {operations_per_second:13.0f} {used:6.3f} {restart_seconds:10.1f}"
    return "\n".join([head, *(line.format(**row) for row in table)])


def parser() -> Parser:
    """The options."""
    made = Parser("python jobs/scaling.py", __doc__)
    made.add_argument("--out", type=Path, required=True, help="folder for scaling.json and for what is measured")
    made.add_argument("--processes", type=int, default=2, help="beside one; 0 measures no rates (2)")
    made.add_argument("--measured", type=int, default=320, help="records of each measured run (320)")
    made.add_argument("--repeats", type=int, default=3, help="of each measurement; the best counts (3)")
    made.add_argument("--batch", type=int, default=16, help="data.batch_size of the simulated runs (16)")
    made.add_argument("--bytes", type=int, default=400_000, help="of a result (400 000)")
    made.add_argument("--seconds", type=float, default=1.0, help="of a record, assumed (1)")
    made.add_argument("--startup", type=float, default=10.0, help="of a process, where no rates are measured (10)")
    made.add_argument("--far", type=float, default=0.0005, help="seconds of an operation on the far disk (.0005)")
    made.add_argument("--committed", type=int, default=10_000, help="shards of a run that is started again (10 000)")
    made.add_argument("--no-s3", action="store_true", help="without the S3 server, which needs moto, flask and s3fs")
    return made


def measured_costs(work: Path, args: argparse.Namespace) -> dict[str, Costs]:
    """Of the ledger, by the place of its files."""
    found = {
        "disk": ledger_costs(file_meter(work / "disk"), args.batch, args.bytes),
        "far disk": ledger_costs(file_meter(work / "far", args.far), args.batch, args.bytes),
        "calls": ledger_costs(CallMeter(lambda name: LocalStore(work / "calls" / name)), args.batch, args.bytes),
    }
    if not args.no_s3:
        with s3_server("scale") as bucket:
            found["S3 on loopback"] = ledger_costs(object_meter(bucket), args.batch, args.bytes)
    return found


def run(args: argparse.Namespace) -> None:
    """Measure, simulate, write scaling.json."""
    work = args.out / "work"
    shutil.rmtree(work, ignore_errors=True)
    costs = measured_costs(work, args)
    rates = side_by_side(work / "rates", args.processes, args.measured, args.repeats) if args.processes else None
    check = checked(work / "check", costs["disk"])
    again = restart_costs(work / "again", args.committed)
    # So few shards as ledger_costs has are one listing.
    listings = (again["with"]["start"]["operations"] - costs["calls"].start) / args.committed
    costs["calls"] = replace(costs["calls"], committed=listings)
    shutil.rmtree(work)
    startup = rates["startup_cpu_seconds"] if rates else args.startup
    used = {"file server": costs["disk"], "object store": costs["calls"]}
    plans = [Plan(records, shard, args.batch, args.seconds, startup=startup) for records, shard in RUNS]
    tables = {
        name: [simulated(plan, one, SERVERS[name], world) for plan in plans for world in WORLDS]
        for name, one in used.items()
    }
    broken = {name: breaks(table) for name, table in tables.items()}
    report = {
        **origin(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg(),
        "rates": rates,
        "costs": {name: asdict(one) for name, one in costs.items()},
        "check": check,
        "restart": again,
        "servers": {name: dict(zip(("per_second", "seconds"), SERVERS[name], strict=True)) for name in tables},
        "simulated": tables,
        "breaks_at": broken,
    }
    write_json(args.out / "scaling.json", report)
    if rates:
        print(f"speed-up by rate {rates['speedup_by_rate']:.2f}, by CPU time {rates['speedup_by_cpu']:.2f}")
    print(f"starting again: {again}")
    for one in check:
        print(f"{one['processes']} processes, real and simulated: {one['real']}, {one['simulated']}")
    for name, table in tables.items():
        print(f"\n{name}\n{show(table)}\n{broken[name]}")


if __name__ == "__main__":
    command(parser(), run)

"""How a run scales: measured on this machine with one and two processes, computed for 1 to 4096 GPUs.

    python jobs/scaling.py --out runs/scaling                      both, a few minutes
    python jobs/scaling.py --out runs/scaling --processes 0        the table alone

Measured: the same digits by one process and by two, one thread each, in turn. The rate is a process's records a second
of its time at work, added over a pair. Where other programs share the machine, the rates say little. The CPU time
from batch to batch, in the quietest tenth of them, then says what two processes that share a run pay for each other,
as far as it is CPU time. Counted: what a process asks of the file server (opening, listing, linking, removing, asking
for a file's size) for a part, a slice, a shard, a look at what others have in hand, and at its start.

Computed from those: a run of --records on so many GPUs, where a record takes --seconds on one of them (an assumption:
take your own), slices taken as they come. Efficiency is the share of the GPUs' time that goes into records, the tail
the time from the first idle process to the end. Writes OUT/scaling.json and prints the tables.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from command import command
from scale.costs import Costs, ledger_costs
from scale.rates import side_by_side

from fcs.bench.origin import origin, write_json
from fcs.core.errors import UsageError
from fcs.engine.data_module import LONGEST, POLL, POLLS
from fcs.shards.ledger.claims import HEARTBEAT, SLICE
from fcs.shards.ledger.shard_order import POLLED_SHARDS
from fcs.tools.cli.ends import Parser

GPUS = [2**power for power in range(13)]
KEPT, ONCE = 3, 4  # files of a committed shard; of a run: run.json, summary.json, a contact sheet, a report


@dataclass(frozen=True)
class Plan:
    """A run to compute.

    Attributes:
        records, shard, batch: records of the run, of each shard and batch.
        seconds: of a record on one GPU.
        server: metadata operations that the file server does in a second.
    """

    records: int
    shard: int
    batch: int
    seconds: float
    server: float


def predicted(plan: Plan, costs: Costs, gpus: int) -> dict[str, float]:
    """What a run on so many GPUs takes and asks of the file server."""
    shards = math.ceil(plan.records / plan.shard)
    piece = SLICE * plan.batch
    sizes = [min(piece, plan.shard - first) for first in range(0, plan.shard, piece)] * shards
    ends = [costs.startup] * gpus
    seconds = max(plan.seconds, costs.part / plan.batch)  # parts are written while the next batch is sampled
    for size in sizes:
        heapq.heappush(ends, heapq.heappop(ends) + size * seconds)
    first, total = min(ends), max(ends) + plan.shard * costs.merge
    working = gpus / seconds / plan.batch  # batches a second
    asked = working * (costs.per_part + costs.per_slice / SLICE + costs.per_shard * plan.batch / plan.shard)
    # Half of the processes wait, each looks at a few of the shards that the other half is in.
    busy = math.ceil(gpus / 2)
    unfinished = min(shards, busy)
    each = min(POLLED_SHARDS, unfinished) * (costs.per_look + costs.per_claim * busy / unfinished)
    waiting = (gpus // 2) * each / min(LONGEST, max(POLL, gpus / POLLS))
    return {
        "gpus": gpus,
        "hours": total / 3600,
        "efficiency": plan.records * plan.seconds / (gpus * total),
        "tail_seconds": total - first,
        "files": KEPT * shards + gpus + ONCE,
        "files_at_most": KEPT * shards + gpus + ONCE + min(shards, gpus) * math.ceil(plan.shard / plan.batch) + gpus,
        "working_per_second": asked + gpus / HEARTBEAT,
        "waiting_per_second": waiting,
        "restart_seconds": gpus * costs.per_start * shards / 2 / plan.server,
    }


def breaks(table: list[dict[str, float]], plan: Plan) -> dict[str, int | None]:
    """The smallest number of GPUs at which each thing goes wrong; None where it does not."""
    tests = {
        "efficiency_below_95_percent": lambda row: row["efficiency"] < 0.95,
        "working_asks_more_than_the_server_does": lambda row: row["working_per_second"] > plan.server,
        "waiting_asks_more_than_the_server_does": lambda row: row["waiting_per_second"] > plan.server,
        "restart_of_a_run_half_done_takes_over_a_minute": lambda row: row["restart_seconds"] > 60,
    }
    return {name: next((int(row["gpus"]) for row in table if test(row)), None) for name, test in tests.items()}


def compute(plan: Plan, costs: Costs) -> dict[str, Any]:
    """A run on 1 to 4096 GPUs, and where it breaks."""
    table = [predicted(plan, costs, gpus) for gpus in GPUS]
    return {"assumed": asdict(plan), "table": table, "breaks_at_gpus": breaks(table, plan)}


def show(table: list[dict[str, float]]) -> str:
    """The table for people."""
    head = "  GPUs     hours  efficiency  tail s    files  at most  working/s  waiting/s  restart s"
    line = "{gpus:6.0f} {hours:9.1f} {efficiency:11.3f} {tail_seconds:7.0f} {files:8.0f} {files_at_most:8.0f}"
    line += " {working_per_second:10.0f} {waiting_per_second:10.0f} {restart_seconds:10.1f}"
    return "\n".join([head, *(line.format(**row) for row in table)])


def parser() -> Parser:
    """The options."""
    made = Parser("python jobs/scaling.py", __doc__)
    made.add_argument("--out", type=Path, required=True, help="folder for scaling.json and for what is measured")
    made.add_argument("--processes", type=int, default=2, help="beside one; 0 measures no rates (2)")
    made.add_argument("--measured", type=int, default=320, help="records of each measured run (320)")
    made.add_argument("--repeats", type=int, default=3, help="of each measurement; the best counts (3)")
    made.add_argument("--records", type=int, default=10_000_000, help="of the computed run (10 M)")
    made.add_argument("--shards", type=int, nargs="+", default=[1000, 10_000], help="records of a shard (1000 10000)")
    made.add_argument("--batch", type=int, default=16, help="data.batch_size (16)")
    made.add_argument("--seconds", type=float, default=1.0, help="of a record on a GPU, assumed (1)")
    made.add_argument("--bytes", type=int, default=400_000, help="of a result (400 000)")
    made.add_argument("--server", type=float, default=10_000.0, help="operations a second, assumed (10 000)")
    made.add_argument("--startup", type=float, help="seconds, where no rates are measured")
    return made


def run(args: argparse.Namespace, overrides: list[str]) -> None:
    """Measure, compute, write scaling.json.

    Raises:
        UsageError: an override, of which there are none.
    """
    if overrides:
        raise UsageError(f"{overrides[0]}: expected an option of --help")
    work = args.out / "work"
    shutil.rmtree(work, ignore_errors=True)
    measured = side_by_side(work / "rates", args.processes, args.measured, args.repeats) if args.processes else None
    startup = measured["startup_cpu_seconds"] if measured else args.startup or 10.0
    costs = Costs(startup, **ledger_costs(work / "ledger", args.batch, args.bytes))
    shutil.rmtree(work)
    plans = [Plan(args.records, shard, args.batch, args.seconds, args.server) for shard in args.shards]
    computed = [compute(plan, costs) for plan in plans]
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    report = {**origin(), "hardware": hardware, "measured": measured, "costs": asdict(costs), "computed": computed}
    write_json(args.out / "scaling.json", report)
    if measured:
        print(f"speed-up by rate {measured['speedup_by_rate']:.2f}, by CPU time {measured['speedup_by_cpu']:.2f}")
    for one in computed:
        print(f"\n{one['assumed']}\n{show(one['table'])}\n{json.dumps(one['breaks_at_gpus'])}")


if __name__ == "__main__":
    command(parser(), run)

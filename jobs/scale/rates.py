"""One process and several that share a run, measured on this machine in turn."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from speed.pipeline import write_inputs

SETTINGS = ["steps=5", "data.batch_size=8", "previews.max=0"]
# The command, with a line in a log at the end of each batch: process, and the CPU seconds that it has had.
CHILD = """
import os, sys, time
log = sys.argv.pop(1)
from fcs.tasks import pipeline
from fcs.tools.cli import predict
compute = pipeline.Pipeline.__call__
def timed(self, *given):
    result = compute(self, *given)
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {time.process_time()}\\n")
    return result
pipeline.Pipeline.__call__ = timed
sys.exit(predict.main())
"""


def side_by_side(folder: Path, processes: int, records: int, repeats: int) -> dict[str, Any]:
    """The same records by one process and by several that share them, in turn; then a run that is complete."""
    inputs = folder / "inputs"
    for number in range(8):
        write_inputs(inputs / f"{number:05d}.tar", (1, 16, 16), records // 8)
    runs: dict[int, list[dict[str, float]]] = {1: [], processes: []}
    batches: dict[int, list[float]] = {1: [], processes: []}
    for repeat in range(repeats):
        for count in runs:
            out = folder / f"run-{repeat}-{count}"
            log = folder / f"log-{repeat}-{count}"
            share(inputs, out, count, log)
            told = [json.loads(path.read_text()) for path in (out / "workers").glob("*.json")]
            spans = [worker["updated"] - worker["started"] for worker in told]
            rate = sum(worker["done"] / span for worker, span in zip(told, spans, strict=True))
            batches[count] += cpu_of_batches(log)
            runs[count].append({"records_per_second": rate, "at_work": len(told)})
            print(f"{count} processes: {rate:.2f} records/s", flush=True)
    startup = share(inputs, folder / "run-0-1", 1, folder / "log")
    best = {count: max(run["records_per_second"] for run in found) for count, found in runs.items()}
    quiet = {count: sorted(found)[len(found) // 10] for count, found in batches.items()}
    return {
        "records": records,
        "settings": SETTINGS,
        "load_average": os.getloadavg(),
        "startup_cpu_seconds": startup,
        "runs": runs,
        "batch_cpu_seconds": {count: {"quiet": quiet[count], "all": sorted(found)} for count, found in batches.items()},
        "speedup_by_rate": best[processes] / best[1],
        "speedup_by_cpu": processes * quiet[1] / quiet[processes],
    }


def share(inputs: Path, out: Path, processes: int, log: Path) -> float:
    """So many commands on one run at once; CPU seconds of all of them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", CHILD, str(log), "--config", "digits_inpaint"]
    command += [f"data.shards={inputs}/*.tar", f"out={out}", *SETTINGS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    null = subprocess.DEVNULL
    started = [subprocess.Popen(command, env=environment, stdout=null, stderr=null) for _ in range(processes)]
    if any([process.wait() for process in started]):
        raise SystemExit(f"{out}: the run failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_of_batches(log: Path) -> list[float]:
    """CPU seconds from the end of each batch to that of the next in one process, all of its threads together."""
    ends: dict[str, list[float]] = {}
    for line in log.read_text().splitlines():
        pid, seconds = line.split()
        ends.setdefault(pid, []).append(float(seconds))
    return [after - before for found in ends.values() for before, after in pairwise(found)]

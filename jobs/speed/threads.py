"""A call of the network by one thread and by as many as there are cores, beside programs that keep cores busy.

Each measurement is a process of its own, since a library of threads reads how they wait when it is loaded. What else
the machine does is measured too: on a machine that others use nothing can be said to be idle.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from fcs.engine.cpu_threads import cores

BUSY = (0, 1, 2)  # programs beside it, a core each
BUSY_CORE = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    pass"  # whatever ends this process
WAITS = {"spinning": None, "quiet": "passive"}  # OMP_WAIT_POLICY
# A process that asks the network; its arguments: model, records, calls.
PROBE = """
import json, sys, time, torch, fcs
model, count, calls = fcs.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x, denoise, level = torch.zeros(count, *model.shape), model.guided([""] * count), model.schedule.levels(2)[0]
with torch.no_grad():
    denoise(x, level)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        denoise(x, level)
    print(json.dumps({"wall": (time.perf_counter() - wall) / calls, "cpu": (time.process_time() - cpu) / calls}))
"""


def threads(model: str, batch: int, calls: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds a call by the clock and of the processor, a row for each number of threads, way to wait and busy beside.

    ``others`` is how many cores all other programs together kept busy meanwhile, those that this starts included.
    """
    cells = [(1, "spinning"), *((cores(), wait) for wait in WAITS if cores() > 1)]
    rows = []
    for busy in BUSY:
        found: dict[tuple[int, str], list[dict[str, float]]] = {cell: [] for cell in cells}
        with busy_cores(busy):
            for _ in range(repeats):
                for cell in cells:
                    found[cell].append(_measured([model, str(batch), str(calls)], *cell))
        for (number, wait), times in found.items():
            each = {name: median(one[name] for one in times) for name in ("wall", "cpu", "others")}
            rows.append({"busy": busy, "threads": number, "waiting": wait if number > 1 else None, **each})
    return rows


def _measured(arguments: list[str], number: int, wait: str) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(number)}
    environment.pop("OMP_WAIT_POLICY", None)
    if (policy := WAITS[wait]) is not None:
        environment["OMP_WAIT_POLICY"] = policy
    before, own = _machine(), os.times()
    command = [sys.executable, "-c", PROBE, *arguments]
    told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    after, spent = _machine(), os.times()
    ours = sum(spent[:4]) - sum(own[:4])
    return {**json.loads(told.splitlines()[-1]), "others": (after - before - ours) / (spent.elapsed - own.elapsed)}


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """So many programs that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY_CORE]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def _machine() -> float:
    """CPU seconds that all programs have taken since the machine started: all but idle and waiting for disks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    line = "{busy} busy beside ({others:.1f} cores): {threads} threads {how:8s} {wall:8.3f} s a call, CPU {cpu:.3f}"
    return "\n".join(line.format(how=row["waiting"] or "", **row) for row in rows)

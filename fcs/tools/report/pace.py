"""How fast a run went: records a second over the time in which a process was at work, and by process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcs.tools.report.charts import Chart, Values, lines
from fcs.tools.report.read import FinishedRun

POINTS = 60
UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True)
class ProcessPace:
    """What a process of the run did.

    Attributes:
        id: host, pid and a few letters.
        job: of SLURM, with the task of an array; "" elsewhere.
        done, failed: records that it wrote.
        rate: records a second from its start to its last batch.
        share: of the fastest process's rate, 0 to 1.
    """

    id: str
    job: str
    done: int
    failed: int
    rate: float
    share: float


def processes(run: FinishedRun) -> list[ProcessPace]:
    """The processes of a run, oldest first."""
    fastest = max((float(worker.get("rate") or 0) for worker in run.workers), default=0.0) or 1.0
    return [_process(worker, fastest) for worker in run.workers]


def pace(runs: Sequence[FinishedRun]) -> Chart | None:
    """Records a second of all processes of each run together; None where no process has told anything."""
    curves = {number: curve(run.workers) for number, run in enumerate(runs) if run.workers}
    longest = max((float(xs[-1]) for xs, _ in curves.values()), default=0.0)
    if not longest:
        return None
    unit, size = next((unit, size) for unit, size in UNITS if longest >= 2 * size or size == 1)
    scaled = {number: (xs / size, ys) for number, (xs, ys) in curves.items()}
    return lines(scaled, "Records a second over the time at work", (f"{unit} at work", "records/s"))


def _process(worker: Mapping[str, Any], fastest: float) -> ProcessPace:
    job = ", task ".join(str(worker[name]) for name in ("job", "task") if worker.get(name) not in (None, ""))
    rate = float(worker.get("rate") or 0)
    return ProcessPace(
        str(worker.get("id", "")), job, int(worker.get("done", 0)), int(worker.get("failed", 0)), rate, rate / fastest
    )


def curve(workers: Sequence[Mapping[str, Any]]) -> tuple[Values, Values]:
    """Time at work in seconds, and the rate there, as a staircase."""
    told = [_told(worker) for worker in workers]
    edges = np.linspace(0.0, _at_work(told, np.inf), min(POINTS, 4 * max(len(times) for times, _ in told)) + 1)
    work = np.zeros(len(edges))
    for times, counts in told:
        work += np.interp(edges, [_at_work(told, moment) for moment in times], counts)
    rates = np.diff(work) / np.diff(edges) if edges[-1] > 0 else np.zeros(len(edges) - 1)
    return np.repeat(edges, 2)[1:-1], np.repeat(rates, 2)


def _told(worker: Mapping[str, Any]) -> tuple[Values, Values]:
    """When a process said that how many records were done, from its start on."""
    began = float(worker.get("started") or 0.0)
    total = float(worker.get("done", 0) + worker.get("failed", 0))
    points = [(0.0, 0.0), *(worker.get("history") or []), (float(worker.get("updated") or began) - began, total)]
    times, counts = np.asarray(points, np.float64).T
    return began + times, counts


def _at_work(told: Sequence[tuple[Values, Values]], moment: float) -> float:
    """Seconds before a moment in which at least one process was at work."""
    spent, until = 0.0, -np.inf
    for times, _ in sorted(told, key=lambda one: float(one[0][0])):
        first, last = max(float(times[0]), until), min(float(times[-1]), moment)
        if last > first:
            spent, until = spent + last - first, last
    return spent

"""Throughput of a run: records a second over the time in which processes were at work, and by process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcs.tools.report.charts import Chart, Values, line_chart
from fcs.tools.report.finished_run import FinishedRun

POINTS = 60  # of a curve
TIME_UNITS = (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True)
class ProcessThroughput:
    """What one process of a run did.

    Attributes:
        id: host, pid and a few letters.
        job: SLURM's, with the task of an array; "" elsewhere.
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


def process_throughputs(run: FinishedRun) -> list[ProcessThroughput]:
    """The processes of a run, oldest first."""
    fastest = max((float(worker.get("rate") or 0) for worker in run.workers), default=0.0) or 1.0
    return [_process(worker, fastest) for worker in run.workers]


def throughput_chart(runs: Sequence[FinishedRun]) -> Chart | None:
    """Records a second of all processes of a run together; None where no process has reported anything."""
    curves = {number: throughput_curve(run.workers) for number, run in enumerate(runs) if run.workers}
    longest = max((float(xs[-1]) for xs, _ in curves.values()), default=0.0)
    if not longest:
        return None
    unit, size = next((unit, size) for unit, size in TIME_UNITS if longest >= 2 * size or size == 1)
    scaled = {number: (xs / size, ys) for number, (xs, ys) in curves.items()}
    return line_chart(scaled, "Records a second over the time at work", (f"{unit} at work", "records/s"))


def _process(worker: Mapping[str, Any], fastest: float) -> ProcessThroughput:
    job = ", task ".join(str(worker[name]) for name in ("job", "task") if worker.get(name) not in (None, ""))
    rate = float(worker.get("rate") or 0)
    return ProcessThroughput(
        str(worker.get("id", "")), job, int(worker.get("done", 0)), int(worker.get("failed", 0)), rate, rate / fastest
    )


def throughput_curve(workers: Sequence[Mapping[str, Any]]) -> tuple[Values, Values]:
    """Time at work in seconds, and the rate there, as a staircase."""
    reports = [_reports(worker) for worker in workers]
    intervals = min(POINTS, 4 * max(len(times) for times, _ in reports))
    edges = np.linspace(0.0, _seconds_at_work(reports, np.inf), intervals + 1)
    done = np.zeros(len(edges))
    for times, counts in reports:
        done += np.interp(edges, [_seconds_at_work(reports, moment) for moment in times], counts)
    rates = np.diff(done) / np.diff(edges) if edges[-1] > 0 else np.zeros(len(edges) - 1)
    return np.repeat(edges, 2)[1:-1], np.repeat(rates, 2)


def _reports(worker: Mapping[str, Any]) -> tuple[Values, Values]:
    """Times at which a process reported, and how many records were done then, from its start on."""
    began = float(worker.get("started") or 0.0)
    total = float(worker.get("done", 0) + worker.get("failed", 0))
    points = [(0.0, 0.0), *(worker.get("history") or []), (float(worker.get("updated") or began) - began, total)]
    times, counts = np.asarray(points, np.float64).T
    return began + times, counts


def _seconds_at_work(reports: Sequence[tuple[Values, Values]], moment: float) -> float:
    """Seconds before a moment in which at least one process was at work."""
    spent, until = 0.0, -np.inf
    for times, _ in sorted(reports, key=lambda one: float(one[0][0])):
        first, last = max(float(times[0]), until), min(float(times[-1]), moment)
        if last > first:
            spent, until = spent + last - first, last
    return spent

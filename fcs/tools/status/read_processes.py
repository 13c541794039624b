"""The processes of a run: from their own files in ``workers/`` and from their claims."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fcs.shards.ledger.claims import STALE, dead
from fcs.shards.ledger.layout import CLAIMS, WORKERS
from fcs.shards.store.base import Store, map_threads
from fcs.tools.status.run_status import ProcessState, ProcessStatus

SILENT = 60.0  # seconds without a batch that are not unusual for any process


def read_processes(out: Store, now: float, complete: bool) -> tuple[ProcessStatus, ...]:
    """All processes of a run, by start.

    Args:
        out: the run.
        now: seconds since the epoch.
        complete: whether all shards are committed.
    """
    names = sorted(f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json"))
    known = [worker for worker in map_threads(out.json, names) if worker is not None and "id" in worker]
    claims = _claims(out)
    workers = {str(worker["id"]).rpartition("-")[2]: worker for worker in known}
    for mark, (_, claim) in claims.items():
        # A process that has not finished a batch yet is known by its claims only.
        workers.setdefault(mark, {**claim, "id": f"{claim['host']}-{claim['pid']}-{mark}"})
    clock = max([now, *(touched for touched, _ in claims.values())])  # the file server's may be ahead of ours
    found = [_process(worker, claims.get(mark, (None,))[0], now, clock, complete) for mark, worker in workers.items()]
    return tuple(sorted(_with_stragglers(found), key=lambda process: (process.started, process.id)))


def _claims(out: Store) -> dict[str, tuple[float, dict[str, Any]]]:
    """The claim of each process that was touched last, and when, by the first letters of its id."""
    found: dict[str, tuple[float, dict[str, Any]]] = {}
    listed = {name: stat for name, stat in out.tree(CLAIMS).items() if not name.rpartition("/")[2].startswith(".")}
    for stat, claim in zip(listed.values(), map_threads(out.json, list(listed)), strict=True):
        if claim is not None and "id" in claim:  # it may have been given back meanwhile
            mark = str(claim["id"])[:8]
            touched = 0.0 if dead(claim) else stat.modified
            found[mark] = max(found.get(mark, (0.0, claim)), (touched, claim), key=lambda pair: pair[0])
    return found


def _process(
    worker: Mapping[str, Any], touched: float | None, now: float, clock: float, complete: bool
) -> ProcessStatus:
    updated = worker.get("updated")
    state: ProcessState = "ended"
    if touched is not None:
        state = "working" if clock - touched < STALE else "lost"
    elif updated is not None and now - updated < STALE and not complete:
        state = "idle"
    return ProcessStatus(
        id=str(worker["id"]),
        job=str(worker.get("job", "")),
        task=str(worker.get("task", "")),
        state=state,
        done=worker.get("done", 0),
        failed=worker.get("failed", 0),
        rate=worker.get("rate"),
        silent=None if updated is None else max(0.0, now - updated),
        straggler=False,
        started=worker.get("started", touched or 0.0),
        array=worker.get("array", 0),
        batch=worker.get("batch", 0),
    )


def _with_stragglers(processes: list[ProcessStatus]) -> Iterator[ProcessStatus]:
    rates = [process.rate for process in processes if process.state == "working" and process.rate]
    median = statistics.median(rates) if rates else 0.0
    for process in processes:
        slow = silent = False
        if process.state == "working" and median and process.rate is not None and process.silent is not None:
            slow = process.rate < median / 2
            silent = process.silent > max(SILENT, 3 * process.batch / median)
        yield replace(process, straggler=slow or silent)

"""The state of a run from what is committed or listed in OUT. Writes nothing, opens no shard, imports no torch.

The files are those of the layout that scripts may rely on, so most are read here without the code that writes them:
that code comes with large libraries, which take seconds to start.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.ledger.claims import STALE, dead
from fcs.shards.ledger.commit_records import records
from fcs.shards.ledger.layout import CLAIMS, PARTS, RUN, WORKERS
from fcs.shards.store.base import Store, each
from fcs.shards.store.files import read_json
from fcs.tools.status.state import ProcessState, Shard, State, Status

SILENT = 60.0  # seconds without a batch that say nothing of a process
_PART = re.compile(r"(\d{8})-(\d{8})")


def status(out: Store, now: float | None = None) -> Status:
    """The state of a run; safe while it goes on.

    Args:
        out: where it is.
        now: seconds since the epoch.

    Raises:
        UsageError: OUT has no pinned run.
        OSError: OUT cannot be read.
    """
    run = pinned(out)
    # Parts before commit records: a shard that is committed in between has been seen in one of them.
    spans = _spans(out)
    shards = list(_shards(run, spans, records(out, [shard["stem"] for shard in run["shards"]])))
    complete = all(shard.counts is not None for shard in shards)
    return Status(tuple(shards), _processes(out, time.time() if now is None else now, complete))


def pinned(out: Store) -> dict[str, Any]:
    """The pinned run. Raises UsageError where OUT has none."""
    run = out.json(RUN)
    if run is None or not isinstance(run.get("shards"), list):
        raise UsageError.of("OUT", out, "the folder of a run; there is no run.json")
    return run


def _shards(
    run: Mapping[str, Any], spans: Mapping[str, list[tuple[int, int]]], done: Mapping[str, Mapping[str, Any]]
) -> Iterator[Shard]:
    """The shards that hold records of the run: with a limit only the first ones."""
    sizes = _Sizes()
    left = run.get("limit")
    for shard in run["shards"]:
        if left is not None and left <= 0:
            return
        stem, record = shard["stem"], done.get(shard["stem"])
        if record is not None:
            counts = record["counts"]
            yield Shard(stem, counts["records"], counts, record.get("failures") or {}, ())
            size = counts["records"]
        else:
            size = sizes.of(shard["url"])
            size = size if size is None or left is None else min(size, left)
            yield Shard(stem, size, None, {}, tuple(spans.get(stem, ())))
        if left is not None and size is not None:
            left -= size


class _Sizes:
    """Records per shard as ``sizes.json`` beside the shards says, for what is not committed."""

    def __init__(self) -> None:
        self._tables: dict[str, Mapping[str, Any]] = {}

    def of(self, url: str) -> int | None:
        """Records of an input shard; None where there is no such file, or the shard is not in it."""
        folder, _, name = url.rpartition("/")
        if folder not in self._tables:
            self._tables[folder] = (_remote if "://" in url else _local)(f"{folder}/sizes.json") or {}
        count = self._tables[folder].get(name)
        return count if type(count) is int and count >= 0 else None


def _local(path: str) -> dict[str, Any] | None:
    try:
        return read_json(Path(path))
    except OSError:  # inputs may lie where this machine has no access; only the total is unknown then
        return None


def _remote(url: str) -> dict[str, Any] | None:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            value = json.loads(file.read())
    except Exception:  # every remote store has its own; as above
        return None
    return value if isinstance(value, dict) else None


def _spans(out: Store) -> dict[str, list[tuple[int, int]]]:
    """Records (first, last) that parts hold, by STEM, sorted and disjoint."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for path in out.tree(PARTS):
        stem, _, name = path.removeprefix(f"{PARTS}/").rpartition("/")
        match = _PART.fullmatch(name)
        if match:
            found[stem].append((int(match[1]), int(match[2])))
    return {stem: list(_joined(sorted(spans))) for stem, spans in found.items()}


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    low, high = spans[0]
    for first, last in spans[1:]:
        if first > high + 1:
            yield low, high
            low, high = first, last
        high = max(high, last)
    yield low, high


def _processes(out: Store, now: float, complete: bool) -> tuple[ProcessState, ...]:
    names = sorted(f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json"))
    told = [worker for worker in each(out.json, names) if worker is not None]
    claims = _claims(out)
    workers = {str(worker["id"]).rpartition("-")[2]: worker for worker in told}
    for mark, (_, claim) in claims.items():
        # One that has not finished a batch yet is known by its claims only.
        workers.setdefault(mark, {**claim, "id": f"{claim['host']}-{claim['pid']}-{mark}"})
    clock = max([now, *(touched for touched, _ in claims.values())])  # the file server's may be ahead of ours
    found = [_process(worker, claims.get(mark, (None,))[0], now, clock, complete) for mark, worker in workers.items()]
    return tuple(sorted(_with_stragglers(found), key=lambda process: (process.started, process.id)))


def _claims(out: Store) -> dict[str, tuple[float, dict[str, Any]]]:
    """The last touched claim of each process and when that was, by the first letters of its id."""
    found: dict[str, tuple[float, dict[str, Any]]] = {}
    listed = {name: stat for name, stat in out.tree(CLAIMS).items() if not name.rpartition("/")[2].startswith(".")}
    for stat, claim in zip(listed.values(), each(out.json, list(listed)), strict=True):
        if claim is not None and "id" in claim:  # it may have been given back meanwhile
            mark = str(claim["id"])[:8]
            touched = 0.0 if dead(claim) else stat.modified
            found[mark] = max(found.get(mark, (0.0, claim)), (touched, claim), key=lambda pair: pair[0])
    return found


def _process(
    worker: Mapping[str, Any], touched: float | None, now: float, clock: float, complete: bool
) -> ProcessState:
    updated = worker.get("updated")
    state: State = "ended"
    if touched is not None:
        state = "working" if clock - touched < STALE else "lost"
    elif updated is not None and now - updated < STALE and not complete:
        state = "idle"
    return ProcessState(
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


def _with_stragglers(processes: list[ProcessState]) -> Iterator[ProcessState]:
    rates = [process.rate for process in processes if process.state == "working" and process.rate]
    median = statistics.median(rates) if rates else 0.0
    for process in processes:
        slow = silent = False
        if process.state == "working" and median and process.rate is not None and process.silent is not None:
            slow = process.rate < median / 2
            silent = process.silent > max(SILENT, 3 * process.batch / median)
        yield replace(process, straggler=slow or silent)

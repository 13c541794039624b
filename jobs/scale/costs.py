"""What the ledger of a run asks of its storage, counted and timed without a model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.shards.input.sources import Source
from fcs.shards.ledger.claims import SLICE
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore

EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir", "os.utime"}


@dataclass(frozen=True)
class Costs:
    """What was measured here.

    Attributes:
        startup: CPU seconds from the command to its first batch.
        part, merge: seconds to write a batch's part; to merge a record into its shard.
        per_part, per_slice, per_shard: metadata operations of a batch, of taking a slice, of committing a shard.
        per_look, per_claim: of one look at an unfinished shard by a process that waits, and more for each claim in it.
        per_start: of a process's start, for each shard that is committed already.
    """

    startup: float
    part: float
    merge: float
    per_part: float
    per_slice: float
    per_shard: float
    per_look: float
    per_claim: float
    per_start: float


class Operations:
    """Counts metadata operations below a folder; opening and the like by Python's audit events, sizes by os.stat."""

    def __init__(self, root: Path) -> None:
        self.root, self.on, self.count = str(root), False, 0
        sys.addaudithook(self._hear)  # for good, but only heard while counting

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if self.on and event in EVENTS and given and str(given[0]).startswith(self.root):
            self.count += 1

    def _counted(self, call: Any) -> Any:
        def counting(path: Any, *rest: Any, **options: Any) -> Any:
            self.count += str(path).startswith(self.root)
            return call(path, *rest, **options)

        return counting

    @contextmanager
    def counted(self, found: list[tuple[int, float]]) -> Iterator[None]:
        """Append how many a block asks for, and its seconds."""
        calls = {name: getattr(os, name) for name in ("stat", "lstat")}
        for name, call in calls.items():
            setattr(os, name, self._counted(call))
        self.count, self.on = 0, True
        began = time.monotonic()
        try:
            yield
        finally:
            self.on = False
            found.append((self.count, time.monotonic() - began))
            for name, call in calls.items():
                setattr(os, name, call)


def book(out: Path, shards: int, records: int, batch: int, first: int = 0) -> Ledger:
    """The ledger of a run without pictures to sample; shards count from ``first``."""
    sources = [Source(f"/in/{number}.tar", f"{number:05d}", 1, 1.0) for number in range(first, first + shards)]
    pin(LocalStore(out), describe({}, sources, None))
    return Ledger(LocalStore(out), sources, batch, lambda number: records)


def rows(wanted: tuple[int, ...], size: int) -> list[Row]:
    """Results of so many bytes each."""
    return [Row(i, f"r{i}", None, i, 1, 1.0, 0.0, {}, ((f"r{i}.png", os.urandom(size)),)) for i in wanted]


def ledger_costs(folder: Path, batch: int, size: int) -> dict[str, float]:
    """Operations and seconds of the ledger itself, from a run of four slices in two shards."""
    folder.mkdir(parents=True)
    operations = Operations(folder)
    records = 2 * SLICE * batch
    given: list[tuple[int, float]] = []
    written: list[tuple[int, float]] = []
    with closing(book(folder / "run", 2, records, batch)) as ledger:
        walk = ledger.tasks()
        for _ in range(4 * SLICE):
            with operations.counted(given):
                item = next(walk)
            made = rows(item.wanted, size)
            with operations.counted(written):
                ledger.finish(item.source, item.batch, made)
    plain = sorted(written[: 2 * SLICE - 1])[SLICE]  # the middle of those that complete no shard
    within, taken = given[1], given[SLICE]
    last = written[2 * SLICE - 1]
    looks = [look(folder / f"look-{claims}", operations, claims, batch) for claims in (1, 3)]
    starts = [start(folder / f"start-{count}", operations, count, batch) for count in (2, 6)]
    per_claim = (looks[1] - looks[0]) / 2
    return {
        "part": plain[1],
        "merge": max(0.0, last[1] - plain[1]) / records,
        "per_part": plain[0] + within[0],
        "per_slice": taken[0] - within[0],
        "per_shard": last[0] - plain[0],
        "per_look": looks[0] - per_claim,
        "per_claim": per_claim,
        "per_start": (starts[1] - starts[0]) / 4,
    }


def look(out: Path, operations: Operations, claims: int, batch: int) -> float:
    """Operations of a process that waits, in a shard of so many slices that all are in other hands."""
    found: list[tuple[int, float]] = []
    with closing(book(out, 1, claims * SLICE * batch, batch)) as busy, closing(book(out, 1, 0, batch)) as idle:
        walk = busy.tasks()
        for _ in range((claims - 1) * SLICE + 1):
            next(walk)
        idle.sizes.known[0] = claims * SLICE * batch
        for _ in range(3):
            with operations.counted(found):
                assert next(idle.tasks(), None) is None
        walk.close()
    return found[-1][0]


def start(out: Path, operations: Operations, committed: int, batch: int) -> float:
    """Operations of a process that comes to a run with so many committed shards."""
    with closing(book(out, committed, 1, batch)) as ledger:
        for item in ledger.tasks():
            ledger.finish(item.source, item.batch, rows(item.wanted, 1))
    found: list[tuple[int, float]] = []
    with closing(book(out, committed, 1, batch)) as ledger, operations.counted(found):
        ledger.load_commits()
        ledger.totals()
        list(ledger.tasks())
    return found[0][0]

"""Process statistics: what one process has done so far, in ``workers/ID.json`` for those who watch a run."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fcs.core.intervals import Column
from fcs.shards.ledger.layout import WORKERS, worker_file
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store, map_threads

HISTORY = 120  # entries at most of how many records were done when


def failed_count(out: Store) -> int:
    """Failed records that all processes of the run, earlier ones too, say they have written."""
    names = [f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json")]
    return sum(int((worker or {}).get("failed", 0)) for worker in map_threads(out.json, names))


def noted(out: Store) -> Counter[str]:
    """How many records have which note (``fcs.core.notes``), by what all processes of the run say they have written."""
    names = [f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json")]
    return sum((Counter((worker or {}).get("notes")) for worker in map_threads(out.json, names)), Counter())


class ProcessStats:
    """Counts a process's finished records and writes them to ``workers/ID.json``. May be used by several threads.

    Attributes:
        slots: records that are sampled at once; fewer than a batch where that did not fit in memory.
    """

    def __init__(self, out: Store, me: Mapping[str, str | int], slots: int = 0) -> None:
        """Args: ``me``, who this process is (``claims.identity`` and an id)."""
        self.slots = slots
        self.me = dict(me)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", str(me["host"])).lstrip(".")
        self.name = f"{host}-{me['pid']}-{str(me['id'])[:8]}"
        self.out, self.path = out, worker_file(self.name)
        self.started = time.time()
        self.done = self.failed = self.batch = 0
        self.means: dict[str, Column] = {}
        self.notes: Counter[str] = Counter()
        self.history: list[tuple[float, int]] = []  # seconds since the start, records until then
        self._batches, self._stride = 0, 1
        self._written = 0  # batches that the file holds
        self._writing = False
        self._lock = threading.Lock()

    def count(self, rows: Sequence[Row]) -> None:
        """Add a batch and see that the file is written.

        One thread writes at a time. Another that comes meanwhile does not wait: the one that writes does so again,
        so that the file never goes back to an older state and at last holds every batch that was counted.

        Raises:
            StorageError: OUT cannot be written.
        """
        with self._lock:
            self._add(rows)
            if self._writing:
                return
            self._writing = True
        try:
            while (state := self._next_state()) is not None:
                self.out.replace(self.path, to_json(state))
        except BaseException:
            with self._lock:
                self._writing = False
            raise

    def _add(self, rows: Sequence[Row]) -> None:
        failed = sum(row.error is not None for row in rows)
        self.failed += failed
        self.done += len(rows) - failed
        self.batch = max(self.batch, len(rows))
        self.notes.update(note for row in rows for note in row.notes)
        for name in sorted({name for row in rows for name in row.means}):
            values = [row.means.get(name) for row in rows if row.error is None]
            more = Column.of([value for value in values if value is not None and math.isfinite(value)])
            self.means[name] = self.means.get(name, Column()) + more
        self._remember(time.time() - self.started)

    def _next_state(self) -> dict[str, Any] | None:
        """What is to be written now; None, and writing ends, where the file holds all that was counted."""
        with self._lock:
            if self._written == self._batches:
                self._writing = False
                return None
            self._written = self._batches
            return self._state()

    def _state(self) -> dict[str, Any]:
        now = time.time()
        return {
            "id": self.name,
            "host": self.me["host"],
            "pid": self.me["pid"],
            "job": self.me["job"],
            "task": self.me["task"],
            "array": self.me["array"],
            "batch": self.batch,
            "slots": self.slots,
            "done": self.done,
            "failed": self.failed,
            "rate": (self.done + self.failed) / max(now - self.started, 1e-9),
            "started": self.started,
            "updated": now,
            "notes": dict(self.notes),
            "scores": {name: {"mean": one.mean, "n": one.n} for name, one in self.means.items() if one.n},
            "history": list(self.history),
        }

    def _remember(self, seconds: float) -> None:
        """Note how many records are done; when the list is full, every second entry of it is dropped."""
        self._batches += 1
        if self._batches % self._stride == 0:
            self.history.append((round(seconds, 3), self.done + self.failed))
        if len(self.history) == HISTORY:
            self.history, self._stride = self.history[1::2], 2 * self._stride

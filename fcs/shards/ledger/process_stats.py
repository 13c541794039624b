"""What one process did, for those who watch a run."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence

from fcs.core.intervals import Column
from fcs.shards.ledger.layout import WORKERS, worker_file
from fcs.shards.ledger.parts import Row
from fcs.shards.store.base import Store, each
from fcs.shards.store.files import to_json

MOMENTS = 120  # at which a process says how far it was


def failures(out: Store) -> int:
    """Failed records that all processes of the run, earlier ones too, say they have written."""
    names = [f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json")]
    return sum(int((worker or {}).get("failed", 0)) for worker in each(out.json, names))


class ProcessStats:
    """Counts a process's finished records and writes them to ``workers/ID.json``.

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
        self.history: list[tuple[float, int]] = []  # seconds since the start, records until then
        self._batches, self._stride = 0, 1

    def count(self, rows: Sequence[Row]) -> None:
        """Add a batch and write the file. Raises StorageError where OUT cannot be written."""
        failed = sum(row.error is not None for row in rows)
        self.failed += failed
        self.done += len(rows) - failed
        self.batch = max(self.batch, len(rows))
        for name in sorted({name for row in rows for name in row.means}):
            values = [row.means.get(name) for row in rows if row.error is None]
            more = Column.of([value for value in values if value is not None and math.isfinite(value)])
            self.means[name] = self.means.get(name, Column()) + more
        now = time.time()
        self._remember(now - self.started)
        state = {
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
            "scores": {name: {"mean": one.mean, "n": one.n} for name, one in self.means.items() if one.n},
            "history": self.history,
        }
        self.out.replace(self.path, to_json(state))

    def _remember(self, seconds: float) -> None:
        """Note how far it is; each second moment is forgotten whenever there are too many, all the way back."""
        self._batches += 1
        if self._batches % self._stride == 0:
            self.history.append((round(seconds, 3), self.done + self.failed))
        if len(self.history) == MOMENTS:
            self.history, self._stride = self.history[1::2], 2 * self._stride

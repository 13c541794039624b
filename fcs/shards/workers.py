"""What one process did, for those who watch a run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcs.shards.files import read_json, to_json, write_replace
from fcs.shards.layout import worker_file
from fcs.shards.parts import Row


def failures(out: Path) -> int:
    """Failed records that all processes of the run, earlier ones too, say they have written."""
    told = [read_json(path) or {} for path in worker_file(out, "").parent.glob("*.json")]
    return sum(int(worker.get("failed", 0)) for worker in told)


class Worker:
    """Counts a process's finished records and writes them to ``workers/ID.json``."""

    def __init__(self, out: Path, me: Mapping[str, str | int]) -> None:
        """Args: ``me``, who this process is (``claims.identity`` and an id)."""
        self.me = dict(me)
        host = re.sub(r"[^A-Za-z0-9.-]", "_", str(me["host"])).lstrip(".")
        self.name = f"{host}-{me['pid']}-{str(me['id'])[:8]}"
        self.path = worker_file(out, self.name)
        self.started = time.time()
        self.done = self.failed = self.batch = 0

    def count(self, rows: Sequence[Row]) -> None:
        """Add a batch and write the file. Raises StorageError where OUT cannot be written."""
        failed = sum(row.error is not None for row in rows)
        self.failed += failed
        self.done += len(rows) - failed
        self.batch = max(self.batch, len(rows))
        now = time.time()
        state = {
            "id": self.name,
            "host": self.me["host"],
            "pid": self.me["pid"],
            "job": self.me["job"],
            "task": self.me["task"],
            "array": self.me["array"],
            "batch": self.batch,
            "done": self.done,
            "failed": self.failed,
            "rate": (self.done + self.failed) / max(now - self.started, 1e-9),
            "started": self.started,
            "updated": now,
        }
        write_replace(self.path, to_json(state))

"""What a process asks for that comes to a run with many committed shards."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fcs.shards.ledger.commit_list import list_commits, nothing_left
from fcs.shards.ledger.commit_manifest import write_manifest
from fcs.shards.ledger.layout import COMMITS
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.tools.status.read_status import read_status
from scale.committed_run import committed_run
from scale.counted_store import CountedStore
from scale.ledger_costs import FINGERPRINT


def restart_costs(out: Path, shards: int) -> dict[str, Any]:
    """Operations (a listing is one for each 1000 names) and CPU seconds, without the manifest and with it.

    Args:
        out: a new folder, for the files of a run with next to nothing in them.
        shards: that are committed; four more are not.
    """
    for folder in ("shards", "metrics"):
        (out / folder).mkdir(parents=True)
    sources = committed_run(lambda name, data: (out / name).write_bytes(data), shards, 4)
    stems = [source.stem for source in sources]

    def start(store: Store) -> None:
        with closing(Ledger(store, sources, 16, lambda number: 1000, fingerprint=FINGERPRINT)) as ledger:
            ledger.load_commits()
            ledger.totals()
            assert next(ledger.tasks()) is not None

    asked: dict[str, Callable[[Store], object]] = {
        "status": read_status,
        "complete": lambda store: nothing_left(store, stems[:shards], FINGERPRINT),
        "start": start,  # last: without the manifest it writes one
    }
    found: dict[str, Any] = {"shards": shards, "without": {name: _cost(out, work) for name, work in asked.items()}}
    listed = list_commits(LocalStore(out), stems, FINGERPRINT)
    write_manifest(LocalStore(out), FINGERPRINT, listed.listed, listed.records)
    found["with"] = {name: _cost(out, work) for name, work in asked.items()}
    return {**found, "manifest_bytes": (out / COMMITS).stat().st_size}


def _cost(out: Path, work: Callable[[Store], object]) -> dict[str, float]:
    store, began = CountedStore(LocalStore(out)), time.process_time()
    work(store)
    return {"operations": store.operations, "cpu_seconds": time.process_time() - began}

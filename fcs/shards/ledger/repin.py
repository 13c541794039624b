"""Pinning a run anew: a run whose records have all failed until now may be started again with other settings.

A first start with a wrong setting often fails all of its records. What it left is removed then, and ``run.json``
replaced. A run with a single result stays what it is, and so does one that has only been pinned: a process that is
still loading its model may be about to work on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import pyarrow.compute as pc

from fcs.core.errors import UsageError
from fcs.shards.ledger import parts
from fcs.shards.ledger.claims import Claims
from fcs.shards.ledger.layout import (
    CLAIMS,
    COMMITS,
    DIFFERENCE,
    FEATURES,
    METRICS,
    PAGE,
    PARTS,
    PREVIEWS,
    RUN,
    SHARDS,
    SUMMARY,
    WORKERS,
)
from fcs.shards.ledger.pinned_run import PinnedOtherwiseError, check_free, pin
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store

log = logging.getLogger("fcs")
LOCK = ".repin"  # one process at a time
WAIT, POLL = 30.0, 0.5  # seconds
# In this order: a shard counts as done while its commit record, in the first folder, is there.
_FOLDERS = (SHARDS, METRICS, FEATURES, PARTS, CLAIMS, PREVIEWS, WORKERS)


def check_pin(out: Store, run: dict[str, Any]) -> None:
    """Check that OUT is this run's, or that ``pin_anew`` would make it so; nothing is written.

    Raises:
        UsageError: another configuration is pinned and has results, or an input changed since, or OUT is no run's and
            holds files where results would go.
    """
    try:
        if out.exists(RUN):
            pin(out, run)
        else:
            check_free(out)
    except PinnedOtherwiseError:
        if not has_only_failed(out):
            raise


def pin_anew(out: Store, run: dict[str, Any]) -> None:
    """As ``pin``; another run whose records have all failed, and on which nobody works, gives way.

    Raises:
        UsageError: another configuration is pinned and has results, or an input changed since.
        StorageError: OUT cannot be written.
    """
    try:
        return pin(out, run)
    except PinnedOtherwiseError as error:
        if not has_only_failed(out):
            raise
        reason = str(error)
    _lock(out)
    try:
        try:
            return pin(out, run)  # another process may have been faster
        except PinnedOtherwiseError:
            if not has_only_failed(out):
                raise
        for folder in _FOLDERS:
            out.delete(*sorted(out.tree(folder), key=lambda name: not name.endswith(".json")))
            out.prune_below(folder)
        out.delete(SUMMARY, PAGE, DIFFERENCE, COMMITS)
        out.replace(RUN, to_json(run))
    finally:
        out.delete(LOCK)
    log.warning("%s: all records failed until now; the run is pinned anew (%s)", out, reason)


def has_only_failed(out: Store) -> bool:
    """Whether records of the run in OUT have failed, none is done, and no living process works on it."""
    commits = [name for name in out.tree(SHARDS) if name.endswith(".json")]
    finished = parts.by_shard(out.tree(PARTS))
    if any(((out.json(name) or {}).get("counts") or {}).get("ok", 1) for name in commits):
        return False
    if any(_has_result(out, stem, names) for stem, names in finished.items()):
        return False
    claims = Claims(out)
    failed = bool(commits) or any(finished.values())
    return failed and all(_is_free(claims, name) for name in out.tree(CLAIMS))


def _is_free(claims: Claims, path: str) -> bool:
    stem, _, name = path.removeprefix(f"{CLAIMS}/").rpartition("/")
    return name.startswith(".") or claims.is_free(stem, name)


def _has_result(out: Store, stem: str, names: Iterable[str]) -> bool:
    try:
        statuses = (parts.read(out, stem, name, ["status"])["status"] for name in names)
        return any(pc.any(pc.equal(status, "ok")).as_py() for status in statuses)
    except FileNotFoundError:  # its shard was committed meanwhile: somebody works on it
        return True


def _lock(out: Store) -> None:
    until = time.monotonic() + WAIT
    while not out.create(LOCK, b"", durable=False):
        if time.monotonic() > until:
            out.delete(LOCK)  # left by a process that was killed
            raise UsageError(f"{out.where(LOCK)}: expected no other process that pins the run; try again")
        time.sleep(POLL)

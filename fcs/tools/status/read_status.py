"""The status of a run from what is committed or listed in OUT.

Most files are read here without the code that writes them, since that code imports large libraries, which take seconds
to start.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.ledger.commit_records import read_commits
from fcs.shards.ledger.layout import PARTS, RUN
from fcs.shards.store.atomic_files import read_json
from fcs.shards.store.base import Store
from fcs.tools.status.read_processes import read_processes
from fcs.tools.status.run_status import RunStatus, ShardStatus

_PART = re.compile(r"(\d{8})-(\d{8})")


def read_status(out: Store, now: float | None = None) -> RunStatus:
    """Read the status of a run; safe while it goes on.

    Args:
        out: the run.
        now: seconds since the epoch; by default the clock's.

    Raises:
        UsageError: OUT has no pinned run.
        OSError: OUT cannot be read.
    """
    run = pinned_run(out)
    # Parts are listed before commit records, so that a shard that is committed in between is seen in one of them.
    spans = _spans(out)
    shards = list(_shards(run, spans, read_commits(out, [shard["stem"] for shard in run["shards"]])))
    complete = all(shard.counts is not None for shard in shards)
    return RunStatus(tuple(shards), read_processes(out, time.time() if now is None else now, complete))


def pinned_run(out: Store) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        UsageError: there is none.
    """
    run = out.json(RUN)
    if run is None or not isinstance(run.get("shards"), list):
        raise UsageError.of("OUT", out, "the folder of a run; there is no run.json")
    return run


def _shards(
    run: Mapping[str, Any], spans: Mapping[str, list[tuple[int, int]]], done: Mapping[str, Mapping[str, Any]]
) -> Iterator[ShardStatus]:
    """The shards that hold records of the run; with a limit only the first ones."""
    sizes = _Sizes()
    left = run.get("limit")
    for shard in run["shards"]:
        if left is not None and left <= 0:
            return
        stem, record = shard["stem"], done.get(shard["stem"])
        if record is not None:
            counts = record["counts"]
            yield ShardStatus(stem, counts["records"], counts, record.get("failures") or {}, ())
            size = counts["records"]
        else:
            size = sizes.of(shard["url"])
            size = size if size is None or left is None else min(size, left)
            yield ShardStatus(stem, size, None, {}, tuple(spans.get(stem, ())))
        if left is not None and size is not None:
            left -= size


class _Sizes:
    """Numbers of records from ``sizes.json`` beside the input shards, for shards that are not committed."""

    def __init__(self) -> None:
        self._tables: dict[str, Mapping[str, Any]] = {}

    def of(self, url: str) -> int | None:
        """Number of records of an input shard; None where no ``sizes.json`` has it."""
        folder, _, name = url.rpartition("/")
        if folder not in self._tables:
            self._tables[folder] = (_remote if "://" in url else _local)(f"{folder}/sizes.json") or {}
        count = self._tables[folder].get(name)
        return count if type(count) is int and count >= 0 else None


def _local(path: str) -> dict[str, Any] | None:
    try:
        return read_json(Path(path))
    except OSError:  # this machine may have no access to the inputs; only the total is unknown then
        return None


def _remote(url: str) -> dict[str, Any] | None:
    import fsspec

    try:
        with fsspec.open(url, "rb") as file:
            value = json.loads(file.read())
    except Exception:  # each remote store raises its own; as above
        return None
    return value if isinstance(value, dict) else None


def _spans(out: Store) -> dict[str, list[tuple[int, int]]]:
    """Records (first, last) that are in parts, by STEM, sorted and disjoint."""
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

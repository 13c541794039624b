"""The status of a run from what is committed or listed in OUT.

Most files are read here without the code that writes them, since that code imports large libraries, which take seconds
to start. Only parts are opened with pyarrow, where there are any.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcs.core.errors import UsageError
from fcs.shards.ledger.commit_list import damaged, list_commits
from fcs.shards.ledger.layout import PARTS, RUN
from fcs.shards.ledger.run_file import names_shards, not_ours
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
    # Parts are read before commit records, so that a shard that is committed in between is seen in one of them.
    begun = {stem: _Begun(_spans(names), _failures(out, stem, names)) for stem, names in _parts(out).items()}
    stems = [shard["stem"] for shard in run["shards"]]
    done = list_commits(out, stems, str(run.get("fingerprint")), run.get("limit"))
    again = set(damaged(out, done))
    shards = list(_shards(run, begun, done.records, again))
    complete = all(shard.counts is not None for shard in shards)
    processes = read_processes(out, time.time() if now is None else now, complete)
    return RunStatus(tuple(shards), processes, tuple(shard.stem for shard in shards if shard.stem in again))


def pinned_run(out: Store) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        UsageError: there is none, or one that is no run's.
    """
    run = out.json(RUN)
    if run is None and not out.exists(RUN):
        raise UsageError.of("OUT", out, "the folder of a run; there is no run.json")
    if run is None or not names_shards(run):
        raise not_ours("OUT", out)
    return run


class _Begun(NamedTuple):
    """What parts hold of a shard: records (first, last), sorted and disjoint, and failed records by code."""

    spans: tuple[tuple[int, int], ...]
    failures: Mapping[str, int]


def _shards(
    run: Mapping[str, Any], begun: Mapping[str, _Begun], done: Mapping[str, Mapping[str, Any]], again: Collection[str]
) -> Iterator[ShardStatus]:
    """The shards that hold records of the run; with a limit only the first ones.

    Args:
        run: what is pinned.
        begun: what parts hold, by STEM.
        done: commit records by STEM.
        again: STEMs of those whose files are not there any more, so that they only tell how many records there are.
    """
    sizes = _Sizes()
    left = run.get("limit")
    for shard in run["shards"]:
        if left is not None and left <= 0:
            return
        stem, record = shard["stem"], done.get(shard["stem"])
        if record is not None and stem not in again:
            counts = record["counts"]
            yield ShardStatus(stem, counts["records"], counts, record.get("failures") or {}, ())
            size = counts["records"]
        else:
            size = sizes.of(shard["url"]) if record is None else record["counts"]["records"]
            found = begun.get(stem, _Begun((), {}))
            size = size if size is None or left is None else min(size, left)
            yield ShardStatus(stem, size, None, found.failures, found.spans)
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


def _parts(out: Store) -> dict[str, list[str]]:
    """Names of the parts by STEM."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in out.tree(PARTS):
        stem, _, name = path.removeprefix(f"{PARTS}/").rpartition("/")
        if _PART.fullmatch(name):
            found[stem].append(name)
    return found


def _failures(out: Store, stem: str, names: Sequence[str]) -> Counter[str]:
    """Failed records in a shard's parts by code."""
    from fcs.shards.ledger.parts import outcomes  # it imports pyarrow

    errors = (one.error for one in outcomes(out, stem, names).values())
    return Counter(error.partition(":")[0] for error in errors if error is not None)


def _spans(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Records (first, last) that these parts cover, sorted and disjoint."""
    found = (_PART.fullmatch(name) for name in names)
    return tuple(_joined(sorted((int(match[1]), int(match[2])) for match in found if match)))


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    low, high = spans[0]
    for first, last in spans[1:]:
        if first > high + 1:
            yield low, high
            low, high = first, last
        high = max(high, last)
    yield low, high

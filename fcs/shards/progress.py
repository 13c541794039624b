"""How far a run is, and whether what was committed is still there."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fcs.shards import commit, parts
from fcs.shards.files import storage
from fcs.shards.layout import commit_file, summary_file
from fcs.shards.sources import Source, counts

SETTLED = 600.0
log = logging.getLogger("fcs.shards")


class Totals(NamedTuple):
    """Records that are done, and how many there are; None where not all counts are known yet."""

    ok: int
    failed: int
    total: int | None


def totals(
    out: Path, sources: Sequence[Source], limit: int | None = None, known: Mapping[int, int] | None = None
) -> Totals:
    """Records done so far over all processes, committed or in parts, and how many there are in all.

    Args:
        out: folder of the run.
        sources: its shards.
        limit: first N records over the list.
        known: rows of the shards that were opened, by number; of the others ``sizes.json`` is believed.

    Raises:
        StorageError: OUT cannot be read.
    """
    ok = failed = 0
    sizes = counts(sources)
    for number, source in enumerate(sources):
        record = commit.committed(out, source.stem)
        if record is not None:
            good, bad = record["counts"]["ok"], record["counts"]["failed"]
            sizes[number] = good + bad
        else:
            good, bad = _in_parts(out, source.stem)
            sizes[number] = (known or {}).get(number, sizes[number])
        ok, failed = ok + good, failed + bad
    sure = [size for size in sizes if size is not None]
    total = sum(sure) if len(sure) == len(sizes) else None
    if limit is not None and sum(sure) >= limit:
        total = limit
    return Totals(ok, failed, total)


def look_over(out: Path, sources: Sequence[Source]) -> None:
    """Take back commit records whose files are gone or have another size: those shards are computed again.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    for source in sources:
        if damaged(out, source.stem):
            log.warning("%s: its results are not as they were committed; computing it again", source.stem)
            for path in (summary_file(out), commit_file(out, source.stem)):
                with storage(path), suppress(FileNotFoundError):
                    os.unlink(path)


def damaged(out: Path, stem: str) -> bool:
    """Whether a shard was committed and its files are not there as its commit record says, or that is damaged.

    Raises:
        StorageError: OUT cannot be read.
    """
    record = commit.committed(out, stem)
    if record is None:  # looked at once more: it may have come between the looks
        return commit_file(out, stem).exists() and commit.committed(out, stem) is None
    # What was committed just now may not be visible on this host yet.
    return time.time() - record["timings"]["committed"] >= SETTLED and not commit.intact(out, record)


def _in_parts(out: Path, stem: str) -> tuple[int, int]:
    """Records ok and failed of a shard that is not committed."""
    status: dict[int, str] = {}
    for name in parts.names(out, stem):
        with suppress(FileNotFoundError):
            part = parts.read(out, stem, name, ["index", "status"]).to_pydict()
            status = {**dict(zip(part["index"], part["status"], strict=True)), **status}
    values = list(status.values())
    return values.count("ok"), values.count("failed")

"""How far a run is, and whether what was committed is still there."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from fcs.shards.input.sources import Source, counts
from fcs.shards.ledger import parts
from fcs.shards.ledger.commit_records import committed, intact, records
from fcs.shards.ledger.layout import FEATURES, METRICS, PARTS, SHARDS, SUMMARY, commit_file
from fcs.shards.store.base import Stat, Store

SETTLED = 600.0
log = logging.getLogger("fcs.shards")


class Totals(NamedTuple):
    """Records that are done, and how many there are; None where not all counts are known yet."""

    ok: int
    failed: int
    total: int | None


def totals(
    out: Store, sources: Sequence[Source], limit: int | None = None, known: Mapping[int, int] | None = None
) -> Totals:
    """Records done so far over all processes, committed or in parts, and how many there are in all.

    Args:
        out: the run's store.
        sources: its shards.
        limit: first N records over the list.
        known: rows of the shards that were opened, by number; of the others ``sizes.json`` is believed.

    Raises:
        StorageError: OUT cannot be read.
    """
    ok = failed = 0
    sizes = counts(sources)
    begun = parts.by_shard(out.tree(PARTS))  # first: a shard that is committed in between is in one of the two
    done = records(out, [source.stem for source in sources])
    for number, source in enumerate(sources):
        if source.stem in done:
            good, bad = done[source.stem]["counts"]["ok"], done[source.stem]["counts"]["failed"]
            sizes[number] = good + bad
        else:
            good, bad = _in_parts(out, source.stem, begun.get(source.stem, []))
            sizes[number] = (known or {}).get(number, sizes[number])
        ok, failed = ok + good, failed + bad
    sure = [size for size in sizes if size is not None]
    total = sum(sure) if len(sure) == len(sizes) else None
    if limit is not None and sum(sure) >= limit:
        total = limit
    return Totals(ok, failed, total)


def look_over(out: Store, sources: Sequence[Source]) -> set[str]:
    """Take back commit records whose files are gone or have another size: those shards are computed again.

    Returns:
        The STEMs of the shards that are committed.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    listed = out.tree(SHARDS)
    stems = [source.stem for source in sources if commit_file(source.stem) in listed]
    bad = damaged(out, stems, listed)
    for stem in bad:
        log.warning("%s: its results are not as they were committed; computing it again", stem)
        out.delete(SUMMARY, commit_file(stem))
    return set(stems).difference(bad)


def damaged(out: Store, stems: Sequence[str], listed: Mapping[str, Stat] | None = None) -> list[str]:
    """The shards with a commit record that is damaged, or whose files are not there as it says.

    Args:
        out: the run's store.
        stems: the shards.
        listed: what ``out.tree("shards")`` has just said.

    Raises:
        StorageError: OUT cannot be read.
    """
    listed = out.tree(SHARDS) if listed is None else listed
    done = records(out, stems, listed)
    sizes = {**listed, **out.tree(METRICS), **(out.tree(FEATURES) if _has_features(done) else {})}
    # Each is looked at once more by itself: between the listings it may have been committed, or tried again.
    return [
        stem
        for stem in stems
        if commit_file(stem) in listed and not _good(out, done.get(stem), sizes) and _is_damaged(out, stem)
    ]


def _good(out: Store, record: Mapping[str, Any] | None, sizes: Mapping[str, Stat] | None = None) -> bool:
    # What was committed just now may not be visible on this host yet.
    return record is not None and (time.time() - record["timings"]["committed"] < SETTLED or intact(out, record, sizes))


def _is_damaged(out: Store, stem: str) -> bool:
    return not _good(out, committed(out, stem)) and out.exists(commit_file(stem))


def _has_features(done: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(name.startswith(FEATURES) for record in done.values() for name in record["files"])


def _in_parts(out: Store, stem: str, names: Sequence[str]) -> tuple[int, int]:
    """Records ok and failed of a shard that is not committed."""
    status: dict[int, str] = {}
    for name in names:
        with suppress(FileNotFoundError):
            part = parts.read(out, stem, name, ["index", "status"]).to_pydict()
            status = {**dict(zip(part["index"], part["status"], strict=True)), **status}
    values = list(status.values())
    return values.count("ok"), values.count("failed")

"""Commit records: which shards are committed, and whether their files are still as the record says.

``commit_shard`` writes them, this module reads them, ``commit_list`` does with as few reads as can be. Neither imports
anything large, so that the status command starts fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fcs.shards.ledger.layout import SHARDS, commit_file
from fcs.shards.store.base import Stat, Store, map_threads


def read_commit(out: Store, stem: str, listed: Stat | None = None) -> dict[str, Any] | None:
    """The commit record of a shard, or None where it has none, or one that is damaged."""
    record = out.json(commit_file(stem), listed)
    return record if record is not None and {"counts", "files", "timings"} <= record.keys() else None


def read_commits(
    out: Store, stems: Iterable[str], listed: Mapping[str, Stat] | None = None
) -> dict[str, dict[str, Any]]:
    """The commit records by STEM, in the order of ``stems``; shards without one are left out. Read in threads.

    Args:
        out: the run's store.
        stems: the shards.
        listed: what ``out.tree("shards")`` has just said.
    """
    listed = out.tree(SHARDS) if listed is None else listed
    names = [stem for stem in stems if commit_file(stem) in listed]
    found = map_threads(lambda stem: read_commit(out, stem, listed[commit_file(stem)]), names)
    return {stem: record for stem, record in zip(names, found, strict=True) if record is not None}


def is_complete(out: Store, stems: Sequence[str], limit: int | None = None) -> bool:
    """True where each shard is committed, or those are that hold the first ``limit`` records."""
    listed = out.tree(SHARDS)
    if limit is None and any(commit_file(stem) not in listed for stem in stems):
        return False
    return covers_run(read_commits(out, stems, listed), stems, limit)


def covers_run(found: Mapping[str, Mapping[str, Any]], stems: Sequence[str], limit: int | None = None) -> bool:
    """``is_complete`` by commit records that were read already."""
    for stem in stems:
        if limit is not None and limit <= 0:
            break
        if stem not in found:
            return False
        limit = None if limit is None else limit - found[stem]["counts"]["records"]
    return True


def files_match(out: Store, record: Mapping[str, Any], listed: Mapping[str, Stat] | None = None) -> bool:
    """True where all files of a commit record have the size it says, by what was listed or by asking for each."""
    try:
        names = record["files"].items()
        stats = ((listed.get(name) if listed is not None else out.stat(name), file["bytes"]) for name, file in names)
        return all(stat is not None and stat.size == size for stat, size in stats)
    except (KeyError, TypeError, AttributeError):
        return False

"""What is committed: the records that say so, and whether the files are still as they say.

Imports nothing large, so that the status command may ask too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fcs.shards.ledger.layout import SHARDS, commit_file
from fcs.shards.store.base import Stat, Store, each


def committed(out: Store, stem: str, listed: Stat | None = None) -> dict[str, Any] | None:
    """The commit record of a shard, or None where it has none, or one that is damaged."""
    record = out.json(commit_file(stem), listed)
    return record if record is not None and {"counts", "files", "timings"} <= record.keys() else None


def records(out: Store, stems: Iterable[str], listed: Mapping[str, Stat] | None = None) -> dict[str, dict[str, Any]]:
    """The commit records by STEM, in the order of ``stems``, of those that have one: one listing and many at once.

    Args:
        out: the run's store.
        stems: the shards.
        listed: what ``out.tree("shards")`` has just said.
    """
    listed = out.tree(SHARDS) if listed is None else listed
    names = [stem for stem in stems if commit_file(stem) in listed]
    found = each(lambda stem: committed(out, stem, listed[commit_file(stem)]), names)
    return {stem: record for stem, record in zip(names, found, strict=True) if record is not None}


def is_complete(out: Store, stems: Sequence[str], limit: int | None = None) -> bool:
    """True where each shard is committed, or those are that hold the first ``limit`` records."""
    listed = out.tree(SHARDS)
    if limit is None and any(commit_file(stem) not in listed for stem in stems):
        return False
    return covers(records(out, stems, listed), stems, limit)


def covers(found: Mapping[str, Mapping[str, Any]], stems: Sequence[str], limit: int | None = None) -> bool:
    """``is_complete`` by commit records that were read already."""
    for stem in stems:
        if limit is not None and limit <= 0:
            break
        if stem not in found:
            return False
        limit = None if limit is None else limit - found[stem]["counts"]["records"]
    return True


def intact(out: Store, record: Mapping[str, Any], listed: Mapping[str, Stat] | None = None) -> bool:
    """True where all files of a commit record have the size it says, by what was listed or by asking for each."""
    try:
        names = record["files"].items()
        stats = ((listed.get(name) if listed is not None else out.stat(name), file["bytes"]) for name, file in names)
        return all(stat is not None and stat.size == size for stat, size in stats)
    except (KeyError, TypeError, AttributeError):
        return False

"""Committing one shard: from parts that are complete to a commit record, and the cleaning up after it.

The order of the writes makes every kill and every race harmless. First the list of the parts to merge is created, the
same for all processes that merge this shard, so that they all write the same bytes. Then ``merge_parts`` writes tar,
features and metrics and last, exclusively, the commit record. Only then are parts and claims deleted, the list last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fcs.shards.ledger import parts
from fcs.shards.ledger.layout import (
    CLAIMS,
    PARTS,
    claims_folder,
    commit_file,
    features_file,
    metrics_file,
    parts_folder,
    tar_file,
)
from fcs.shards.ledger.merge_parts import merge_parts
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store

MERGE_LIST = "merge.json"


def commit_shard(
    out: Store,
    stem: str,
    count: int,
    fingerprint: str = "",
    info: dict[str, Any] | None = None,
    scores: Sequence[str] = (),
    features: Sequence[str] = (),
) -> bool:
    """Merge the parts of a shard and commit it, if they cover all its ``count`` records.

    Args:
        out: the run's store.
        stem: the shard.
        count: records of the shard that belong to the run.
        fingerprint: of the run's settings, for the commit record.
        info: further entries of the commit record (versions, card).
        scores: names that get a column even where no part has them.
        features: names that get a file even where no part has them.

    Returns:
        True where the shard is committed now, by whomever; False where parts are missing.

    Raises:
        StorageError: OUT cannot be written.
    """
    if clean_up(out, stem, features):
        return True
    found = parts.names(out, stem)
    if parts.missing_records(parts.joined_ranges(found), 0, count):
        return out.exists(commit_file(stem))
    try:
        merge_parts(out, stem, _fixed_list(out, stem, found), count, fingerprint, info or {}, scores, features)
    except FileNotFoundError:
        if not out.exists(commit_file(stem)):
            raise
    return clean_up(out, stem, features)


def clean_up(out: Store, stem: str, features: Sequence[str] = ()) -> bool:
    """Delete parts and claims of a committed shard; False, and nothing is done, where it is not committed."""
    if not out.exists(commit_file(stem)):
        return False
    folder, claims = parts_folder(stem), claims_folder(stem)
    names = sorted(out.names(folder))
    if parts.REOPENED in names and _cut_while_reopened(out, stem):
        return False
    # The list goes last: while a part is left, a process that comes late must not make another list.
    out.delete(*(f"{folder}/{name}" for name in names if name != MERGE_LIST))
    out.delete(*(f"{folder}/{name}" for name in names if name == MERGE_LIST))
    out.delete(*(f"{claims}/{name}" for name in sorted(out.names(claims))))
    kept = [tar_file(stem), commit_file(stem), metrics_file(stem)]
    out.sweep(*kept, *(features_file(name, stem) for name in features))
    for top in (folder, claims):
        out.prune(top)
    return True


def remove_empty_folders(out: Store) -> None:
    """Remove empty folders below parts/ and claims/ that a kill between two removals left."""
    for top in (PARTS, CLAIMS):
        out.prune_below(top)


def _cut_while_reopened(out: Store, stem: str) -> bool:
    """Whether a process was killed while it moved the commit record to the parts; if so, the move is completed.

    That happens only where a store cannot rename: the record is copied first and then deleted.
    """
    try:
        if out.read(commit_file(stem)) != out.read(f"{parts_folder(stem)}/{parts.REOPENED}"):
            return False
    except FileNotFoundError:
        return not out.exists(commit_file(stem))
    out.delete(commit_file(stem))
    return True


def _fixed_list(out: Store, stem: str, found: list[str]) -> list[str]:
    """The parts to merge: the list of the first process that merges; a part that comes later changes nothing."""
    name = f"{parts_folder(stem)}/{MERGE_LIST}"
    if out.create(name, to_json({"parts": found})):
        return found
    fixed = out.json(name)
    if fixed is not None and set(fixed["parts"]).issubset(parts.names(out, stem)):
        return list(fixed["parts"])
    raise FileNotFoundError(f"{stem}: its parts were merged and deleted by another process")

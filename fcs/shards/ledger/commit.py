"""Parts to a committed shard, in an order of writes that makes each kill and each race harmless.

First the list of parts to merge, fixed for all mergers, so that all of them write the same bytes; then tar,
features and metrics; last, exclusively, the commit record. Only then parts and claims are deleted, the list
after the parts.
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
from fcs.shards.ledger.merge import merge
from fcs.shards.store.base import Store
from fcs.shards.store.files import to_json

MERGE = "merge.json"


def commit(
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
    if clean(out, stem, features):
        return True
    found = parts.names(out, stem)
    if parts.missing(parts.joined(found), 0, count):
        return out.exists(commit_file(stem))
    try:
        merge(out, stem, _frozen(out, stem, found), count, fingerprint, info or {}, scores, features)
    except FileNotFoundError:
        if not out.exists(commit_file(stem)):
            raise
    return clean(out, stem, features)


def clean(out: Store, stem: str, features: Sequence[str] = ()) -> bool:
    """Delete what a committed shard does not need any more; False, and nothing done, where it is not committed."""
    if not out.exists(commit_file(stem)):
        return False
    folder, claims = parts_folder(stem), claims_folder(stem)
    names = sorted(out.names(folder))
    if parts.REOPENED in names and _cut_while_reopened(out, stem):
        return False
    # The list goes last: while a part is left, no late merger may make another list.
    out.delete(*(f"{folder}/{name}" for name in names if name != MERGE))
    out.delete(*(f"{folder}/{name}" for name in names if name == MERGE))
    out.delete(*(f"{claims}/{name}" for name in sorted(out.names(claims))))
    kept = [tar_file(stem), commit_file(stem), metrics_file(stem)]
    out.sweep(*kept, *(features_file(name, stem) for name in features))
    for top in (folder, claims):
        out.prune(top)
    return True


def prune(out: Store) -> None:
    """Remove empty folders below parts/ and claims/ that a kill between two removals left."""
    for top in (PARTS, CLAIMS):
        out.prune_below(top)


def _cut_while_reopened(out: Store, stem: str) -> bool:
    """Whether the commit record was being moved to the parts where a store cannot rename; it is then, after this."""
    try:
        if out.read(commit_file(stem)) != out.read(f"{parts_folder(stem)}/{parts.REOPENED}"):
            return False
    except FileNotFoundError:
        return not out.exists(commit_file(stem))
    out.delete(commit_file(stem))
    return True


def _frozen(out: Store, stem: str, found: list[str]) -> list[str]:
    """The parts to merge: the first merger's list, so that a part that comes later changes nothing."""
    name = f"{parts_folder(stem)}/{MERGE}"
    if out.create(name, to_json({"parts": found})):
        return found
    fixed = out.json(name)
    if fixed is not None and set(fixed["parts"]).issubset(parts.names(out, stem)):
        return list(fixed["parts"])
    raise FileNotFoundError(f"{stem}: its parts were merged and deleted by another process")

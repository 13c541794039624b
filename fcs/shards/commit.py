"""Parts to a committed shard, in an order of writes that makes each kill and each race harmless.

First the list of parts to merge, fixed for all mergers, so that all of them write the same bytes; then tar,
features and metrics; last, exclusively, the commit record. Only then parts and claims are deleted, the list
after the parts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcs.shards import parts
from fcs.shards.files import leftovers, read_json, storage, to_json, write_exclusive
from fcs.shards.layout import claims_folder, commit_file, features_file, metrics_file, parts_folder, tar_file
from fcs.shards.merge import merge

MERGE = "merge.json"


def committed(out: Path, stem: str) -> dict[str, Any] | None:
    """The commit record of a shard, or None where it has none, or one that is damaged."""
    record = read_json(commit_file(out, stem))
    return record if record is not None and {"counts", "files", "timings"} <= record.keys() else None


def intact(out: Path, record: dict[str, Any]) -> bool:
    """True where all files of a commit record have the size it says."""
    try:
        return all(os.stat(out / name).st_size == file["bytes"] for name, file in record["files"].items())
    except (FileNotFoundError, KeyError, TypeError, AttributeError):
        return False


def is_complete(out: Path, stems: Sequence[str], limit: int | None = None) -> bool:
    """True where each shard is committed, or those are that hold the first ``limit`` records."""
    if limit is None:
        return all(committed(out, stem) is not None for stem in stems)
    for stem in stems:
        if limit <= 0:
            break
        record = committed(out, stem)
        if record is None:
            return False
        limit -= record["counts"]["records"]
    return True


def commit(
    out: Path,
    stem: str,
    count: int,
    fingerprint: str = "",
    info: dict[str, Any] | None = None,
    scores: Sequence[str] = (),
    features: Sequence[str] = (),
) -> bool:
    """Merge the parts of a shard and commit it, if they cover all its ``count`` records.

    Args:
        out: folder of the run.
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
    if commit_file(out, stem).exists():
        clean(out, stem, features)
        return True
    found = parts.names(out, stem)
    if parts.missing(parts.joined(found), 0, count):
        return commit_file(out, stem).exists()
    try:
        merge(out, stem, _frozen(out, stem, found), count, fingerprint, info or {}, scores, features)
    except FileNotFoundError:
        if not commit_file(out, stem).exists():
            raise
    clean(out, stem, features)
    return True


def clean(out: Path, stem: str, features: Sequence[str] = ()) -> None:
    """Delete what a committed shard does not need any more; nothing where it is not committed."""
    if not commit_file(out, stem).exists():
        return
    folder = parts_folder(out, stem)
    # The list goes last: while a part is left, no late merger may make another list.
    for name in sorted(_files(folder), key=lambda name: (name == MERGE, name)):
        _delete(folder / name)
    for name in _files(claims_folder(out, stem)):
        _delete(claims_folder(out, stem) / name)
    kept = [tar_file(out, stem), commit_file(out, stem), metrics_file(out, stem)]
    for path in [*kept, *(features_file(out, name, stem) for name in features)]:
        for temp in leftovers(path):
            _delete(temp)
    for top in (folder, claims_folder(out, stem)):
        _remove_empty(top, out)


def prune(out: Path) -> None:
    """Remove empty folders below parts/ and claims/ that a kill between two removals left."""
    for top in ("parts", "claims"):
        for folder, _, _ in os.walk(out / top, topdown=False):
            with suppress(OSError):  # not empty, or gone
                os.rmdir(folder)


def _frozen(out: Path, stem: str, found: list[str]) -> list[str]:
    """The parts to merge: the first merger's list, so that a part that comes later changes nothing."""
    path = parts_folder(out, stem) / MERGE
    if write_exclusive(path, to_json({"parts": found})):
        return found
    fixed = read_json(path)
    if fixed is not None and set(fixed["parts"]).issubset(parts.names(out, stem)):
        return list(fixed["parts"])
    raise FileNotFoundError(f"{stem}: its parts were merged and deleted by another process")


def _files(folder: Path) -> list[str]:
    try:
        with storage(folder), os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _delete(path: Path) -> None:
    with storage(path), suppress(FileNotFoundError):
        os.unlink(path)


def _remove_empty(folder: Path, out: Path) -> None:
    """Remove a folder and those above it that are empty now, up to OUT."""
    while folder != out:
        try:
            os.rmdir(folder)
        except OSError:  # not empty: another shard's, or a late writer's
            return
        folder = folder.parent

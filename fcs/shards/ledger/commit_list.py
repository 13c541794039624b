"""What is committed in a run, by one listing: of most shards the manifest says what their commit records say."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcs.core.plurals import count_of
from fcs.shards.ledger.commit_manifest import LEAST, read_manifest, turn, write_manifest
from fcs.shards.ledger.commit_records import covers_run, files_match, read_commit, read_commits
from fcs.shards.ledger.layout import COMMITS, FEATURES, METRICS, SHARDS, SUMMARY, commit_file
from fcs.shards.store.base import Stat, Store, map_threads

NAMED = 3  # shards in a message
SETTLED = 600.0  # seconds in which other hosts may still list old sizes of a commit's files, or not list them
log = logging.getLogger("fcs.shards")


@dataclass(frozen=True)
class CommitList:
    """The shards of a run that have a commit record.

    Attributes:
        listed: all files below ``shards/``.
        stems: of the shards with a commit record, in the run's order.
        records: what these say, by STEM, without those that are damaged; of the manifest's only what ``Hint`` has.
        read: how many records were read because the manifest had no entry for them.
        manifest: as it was listed before it was read.
    """

    listed: Mapping[str, Stat]
    stems: Sequence[str]
    records: Mapping[str, Mapping[str, Any]]
    read: int
    manifest: Stat | None


def list_commits(out: Store, stems: Sequence[str], fingerprint: str, limit: int | None = None) -> CommitList:
    """What is committed of these shards.

    Args:
        out: the run's store.
        stems: its shards, in the pinned order.
        fingerprint: of its settings.
        limit: first N records of the run. With one, the records' counts decide what belongs to it, so that all are
            read and none is the manifest's.

    Raises:
        StorageError: OUT cannot be read.
    """
    listed = out.tree(SHARDS)
    found = [stem for stem in stems if commit_file(stem) in listed]
    asked = limit is None and len(found) >= LEAST
    manifest = out.stat(COMMITS) if asked else None
    hints = read_manifest(out, fingerprint) if manifest else {}
    known = {
        stem: hints[stem].record
        for stem in found
        if stem in hints and hints[stem].listed == listed[commit_file(stem)]
    }  # fmt: skip
    rest = read_commits(out, [stem for stem in found if stem not in known], listed)
    records = {stem: known.get(stem) or rest[stem] for stem in found if stem in known or stem in rest}
    return CommitList(listed, found, records, len(found) - len(known), manifest)


def committed_since(
    out: Store, stems: Sequence[str], known: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The records of the shards that are committed now; those that are known already are not asked for again.

    Raises:
        StorageError: OUT cannot be read.
    """
    names = set(out.below(SHARDS))
    found = [stem for stem in stems if commit_file(stem) in names]
    new = [stem for stem in found if stem not in known]
    read = dict(zip(new, map_threads(lambda stem: read_commit(out, stem), new), strict=True))
    records = {stem: known.get(stem) or read[stem] for stem in found}
    return {stem: record for stem, record in records.items() if record is not None}


def nothing_left(out: Store, stems: Sequence[str], fingerprint: str, limit: int | None = None) -> bool:
    """True where each shard is committed, or those are that hold the first ``limit`` records, and all files are there.

    Raises:
        StorageError: OUT cannot be read.
    """
    names = set(out.below(SHARDS)) if limit is None else set()
    if limit is None and any(commit_file(stem) not in names for stem in stems):
        return False
    found = list_commits(out, stems, fingerprint, limit)
    return covers_run(found.records, stems, limit) and not damaged(out, found)


def damaged(out: Store, found: CommitList) -> list[str]:
    """The shards with a commit record that is damaged, or whose files are not there as it says; none is opened.

    Raises:
        StorageError: OUT cannot be read.
    """
    sizes = {**found.listed, **out.tree(METRICS), **(out.tree(FEATURES) if _has_features(found.records) else {})}
    doubtful = [stem for stem in found.stems if not _is_good(out, found.records.get(stem), sizes)]
    # Each is asked once more by itself: between the listings it may have been committed, or tried again, and the
    # manifest may be wrong.
    still = map_threads(lambda stem: not _is_good(out, read_commit(out, stem)), doubtful)
    return [stem for stem, bad in zip(doubtful, still, strict=True) if bad and out.exists(commit_file(stem))]


def damaged_text(stems: Sequence[str]) -> str:
    """What is said of such shards, with the names of the first."""
    more = ", ..." if len(stems) > NAMED else ""
    return f"{count_of(len(stems), 'shard')} not as committed, to be computed again: {', '.join(stems[:NAMED])}{more}"


def retract_damaged(out: Store, found: CommitList) -> set[str]:
    """Take back commit records whose files are gone or have another size: those shards are computed again.

    Returns:
        The STEMs of the shards that are committed.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    bad = damaged(out, found)
    for stem in bad:
        log.warning("%s: its results are not as they were committed; computing it again", stem)
        out.delete(SUMMARY, commit_file(stem))
    return set(found.stems).difference(bad)


def keep_manifest(out: Store, found: CommitList, fingerprint: str) -> None:
    """Write the manifest where this process has read much that it did not have, and nobody else has written it since.

    Raises:
        StorageError: OUT cannot be written.
    """
    if found.read >= turn(len(found.stems)) and out.stat(COMMITS) == found.manifest:
        write_manifest(out, fingerprint, found.listed, found.records)


def _is_good(out: Store, record: Mapping[str, Any] | None, sizes: Mapping[str, Stat] | None = None) -> bool:
    if record is None:
        return False
    recent = time.time() - record["timings"].get("committed", 0.0) < SETTLED
    return _are_there(out, record, sizes or {}) if recent else files_match(out, record, sizes)


def _are_there(out: Store, record: Mapping[str, Any], listed: Mapping[str, Stat]) -> bool:
    """Whether the files of a commit exist; what is not listed yet is asked for by name, which no host has cached."""
    return all(name in listed or out.exists(name) for name in record["files"])


def _has_features(done: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(name.startswith(FEATURES) for record in done.values() for name in record["files"])

"""The shards of a run that are committed, as one process knows them; commits those whose parts are all there."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.claims import Claims
from fcs.shards.ledger.commit_list import list_commits
from fcs.shards.ledger.commit_manifest import LEAST, is_turn, write_manifest
from fcs.shards.ledger.commit_shard import clean_up, commit_shard, remove_empty_folders
from fcs.shards.ledger.layout import CLAIMS, PARTS, SHARDS, SUMMARY, claims_folder, commit_file, parts_folder
from fcs.shards.ledger.shard_sizes import ShardSizes
from fcs.shards.ledger.summary import write_summary
from fcs.shards.store.base import Store

LISTED = 500  # committed shards that one operation lists, each with two files
_MERGE = "merge"


@dataclass(frozen=True)
class RunFacts:
    """What a commit record and the rows of a run say besides the results.

    Attributes:
        fingerprint: of the run's settings.
        info: further entries of commit records (versions, card).
        scores: names of scores that rows may have.
        features: names of features that rows may have.
    """

    fingerprint: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


class CommitTracker:
    """The shards that are committed, as far as this process knows. May be used by several threads."""

    def __init__(
        self, out: Store, sources: Sequence[Source], sizes: ShardSizes, claims: Claims, facts: RunFacts
    ) -> None:
        self.out, self.sources, self.sizes, self.claims, self.facts = out, sources, sizes, claims, facts
        self._done: set[int] = set()
        self._met = 0  # committed shards that were found one by one since the last listing
        self._merging = threading.Lock()

    def load(self, stems: Collection[str]) -> None:
        """Learn the STEMs of all committed shards, and clean up after those that still have parts or claims."""
        leftovers = _stems_with_leftovers(self.out)
        found = [number for number, source in enumerate(self.sources) if source.stem in stems]
        self._done = {number for number in found if self.sources[number].stem not in leftovers}
        for number in found:
            self.is_committed(number)

    def is_known(self, number: int) -> bool:
        """Whether a shard is known to be committed, without asking the store."""
        return number in self._done

    def is_committed(self, number: int) -> bool:
        """Whether a shard is committed."""
        if number in self._done:
            return True
        stem = self.sources[number].stem
        if not self.out.exists(commit_file(stem)):
            return False
        leftovers = self.out.names(parts_folder(stem)) or self.out.names(claims_folder(stem))
        if leftovers and not clean_up(self.out, stem, self.facts.features):  # of a process that was killed
            return False
        self._done.add(number)
        self._met += 1
        if self._met >= max(LEAST, len(self.sources) // LISTED):
            self._list()
        return True

    def _list(self) -> None:
        """Learn what others have committed meanwhile, which costs less than to ask for each shard."""
        self._met = 0
        leftovers, files = _stems_with_leftovers(self.out), set(self.out.below(SHARDS))
        for number, source in enumerate(self.sources):
            if commit_file(source.stem) in files and source.stem not in leftovers:
                self._done.add(number)

    def all_committed(self) -> bool:
        """True where all shards are committed (with a limit: those with its records)."""
        remaining = self.sizes.limit
        for number in range(len(self.sources)):
            if remaining is not None and remaining <= 0:
                break
            if not self.is_committed(number):
                return False
            remaining = None if remaining is None else remaining - (self.sizes.of(number, remaining) or 0)
        return True

    def commit_if_complete(self, number: int, wait: bool = True) -> bool:
        """Merge and commit a shard whose parts are all there, unless another process does; True where this one did.

        Args:
            number: of the shard, whose size is known.
            wait: for another thread that merges a shard; otherwise leave this one for later.

        Raises:
            StorageError: OUT cannot be written.
        """
        if not self._merging.acquire(blocking=wait):
            return False
        try:
            done = self._commit(number)
        finally:
            self._merging.release()
        if done:
            self._done.add(number)
            ended = self.all_committed()
            if len(self.sources) >= LEAST and (ended or is_turn(number, len(self.sources))):
                self._write_manifest()
            if ended:
                write_summary(self.out)
        return done

    def _write_manifest(self) -> None:
        stems, fingerprint = [source.stem for source in self.sources], self.facts.fingerprint
        found = list_commits(self.out, stems, fingerprint)
        write_manifest(self.out, fingerprint, found.listed, found.records)

    def _commit(self, number: int) -> bool:
        stem, count, facts = self.sources[number].stem, self.sizes.known[number], self.facts
        if self.out.exists(commit_file(stem)):
            self._done.discard(number)  # ask again: a part may have come late
            if self.is_committed(number):
                self.out.prune(claims_folder(stem))  # our claim may have made the folder again
            return False
        if parts.missing_records(parts.covered_ranges(self.out, stem), 0, count):
            return False
        if not self.claims.acquire(stem, _MERGE):
            return False
        try:
            return commit_shard(self.out, stem, count, facts.fingerprint, facts.info, facts.scores, facts.features)
        finally:
            self.claims.release(stem, _MERGE)


def finish_run(out: Store) -> None:
    """Write the summary and delete what is left over in a complete run whose last process was killed before it did.

    Does nothing in a run that ended well.

    Raises:
        StorageError: OUT cannot be written.
    """
    for stem in _stems_with_leftovers(out):
        clean_up(out, stem)
    if not (out.json(SUMMARY) or {}).get("complete"):
        write_summary(out)
    remove_empty_folders(out)


def _stems_with_leftovers(out: Store) -> set[str]:
    """STEMs that still have parts or claims."""
    return {name.partition("/")[2].rpartition("/")[0] for top in (PARTS, CLAIMS) for name in out.below(top)}

"""Which shards of a run are committed; the others are, as soon as their parts are all there."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fcs.shards.input.sources import Source
from fcs.shards.ledger import commit, parts
from fcs.shards.ledger.claims import Claims
from fcs.shards.ledger.layout import CLAIMS, PARTS, SUMMARY, claims_folder, commit_file, parts_folder
from fcs.shards.ledger.shard_sizes import ShardSizes
from fcs.shards.ledger.summary import write_summary
from fcs.shards.store.base import Store

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


class Commits:
    """The shards that are committed, as far as this process has seen. May be used by several threads."""

    def __init__(
        self, out: Store, sources: Sequence[Source], counts: ShardSizes, claims: Claims, facts: RunFacts
    ) -> None:
        self.out, self.sources, self.counts, self.claims, self.facts = out, sources, counts, claims, facts
        self._done: set[int] = set()
        self._merging = threading.Lock()

    def see(self, stems: Collection[str]) -> None:
        """Learn which shards are committed from one look at all, and clean up behind those that need it."""
        left = _left_over(self.out)
        self._done = {number for number, source in enumerate(self.sources) if source.stem in stems}
        for number in [number for number in self._done if self.sources[number].stem in left]:
            self._done.discard(number)
            self.has(number)

    def seen(self, number: int) -> bool:
        """Whether a shard is known to be committed without a look at its files."""
        return number in self._done

    def has(self, number: int) -> bool:
        """Whether a shard is committed."""
        if number in self._done:
            return True
        stem = self.sources[number].stem
        if not self.out.exists(commit_file(stem)):
            return False
        left = self.out.names(parts_folder(stem)) or self.out.names(claims_folder(stem))
        if left and not commit.clean(self.out, stem, self.facts.features):  # a process that was killed left it
            return False
        self._done.add(number)
        return True

    def all(self) -> bool:
        """True where all shards are committed (with a limit: those with its records)."""
        left = self.counts.limit
        for number in range(len(self.sources)):
            if left is not None and left <= 0:
                break
            if not self.has(number):
                return False
            left = None if left is None else left - (self.counts.of(number, left) or 0)
        return True

    def commit(self, number: int, wait: bool = True) -> bool:
        """Merge a shard whose parts are all there, unless another process is at it; whether it is committed by this.

        Args:
            number: of the shard, which was counted before.
            wait: for another thread that merges one; otherwise leave it.

        Raises:
            StorageError: OUT cannot be written.
        """
        if not self._merging.acquire(blocking=wait):
            return False
        try:
            done = self._merge(number)
        finally:
            self._merging.release()
        if done:
            self._done.add(number)
            if self.all():
                write_summary(self.out)
        return done

    def _merge(self, number: int) -> bool:
        stem, count, facts = self.sources[number].stem, self.counts.known[number], self.facts
        if self.out.exists(commit_file(stem)):
            self._done.discard(number)  # look again: a late part may lie there now
            if self.has(number):
                self.out.prune(claims_folder(stem))  # ours may have made the folder anew
            return False
        if parts.missing(parts.covered(self.out, stem), 0, count) or not self.claims.take(stem, _MERGE):
            return False
        try:
            return commit.commit(self.out, stem, count, facts.fingerprint, facts.info, facts.scores, facts.features)
        finally:
            self.claims.release(stem, _MERGE)


def end(out: Store) -> None:
    """Do in a complete run what whoever committed the last shard was killed before; nothing in one that ended well.

    Raises:
        StorageError: OUT cannot be written.
    """
    for stem in _left_over(out):
        commit.clean(out, stem)
    if not (out.json(SUMMARY) or {}).get("complete"):
        write_summary(out)
    commit.prune(out)


def _left_over(out: Store) -> set[str]:
    """STEMs that still have parts or claims."""
    return {name.partition("/")[2].rpartition("/")[0] for top in (PARTS, CLAIMS) for name in out.tree(top)}

"""The ledger: one process's view of a run, from which it takes batches and to which it gives their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import HEARTBEAT, STALE, Claims
from fcs.shards.ledger.commit_list import keep_manifest, list_commits, retract_damaged
from fcs.shards.ledger.commit_tracker import CommitTracker, RunFacts
from fcs.shards.ledger.layout import RUN, commit_file
from fcs.shards.ledger.leases import Leases
from fcs.shards.ledger.process_stats import ProcessStats, failed_count
from fcs.shards.ledger.result_rows import Row
from fcs.shards.ledger.scheduler import Scheduler
from fcs.shards.ledger.shard_sizes import ShardSizes
from fcs.shards.ledger.totals import Totals, totals
from fcs.shards.store.base import Store


class Ledger:
    """One process's view of a run. ``tasks`` and ``finish`` may be called from different threads.

    Its state is files only: a batch is done when its part is on disk, a shard when its commit record is. Claims keep
    processes from doing the same work, and nothing else depends on them.

    Attributes:
        stats: counts of this process.
    """

    def __init__(
        self,
        out: Store,
        sources: Sequence[Source],
        batch_size: int,
        rows: Callable[[int], int | None],
        *,
        limit: int | None = None,
        rank: int = 0,
        world: int = 1,
        scores: Sequence[str] = (),
        features: Sequence[str] = (),
        fingerprint: str = "",
        info: dict[str, Any] | None = None,
        watched: bool = True,
        stale: float = STALE,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """Describe this process's share; nothing is written yet.

        Args:
            out: the run's store, pinned.
            sources: its shards, in the pinned order.
            batch_size: records a batch; batch b of a shard is its records ``b * B`` to ``b * B + B - 1``.
            rows: of shard number i; None while a thread opens it. Asked from ``tasks`` and ``record_counts`` only.
            limit: first N records over the list.
            rank: this process starts at shard ``rank * n / world``, within it at that fraction of its slices.
            world: number of processes that were started together, over all tasks of a job array.
            scores: names of scores that rows may have.
            features: names of features that rows may have.
            fingerprint: of the run's settings, for commit records.
            info: further entries for commit records (versions, card).
            watched: whether ``failed_elsewhere`` will be asked; the files of all processes are read for it now.
            stale: seconds without a heartbeat after which a claim is void.
            heartbeat: seconds between two of them.
        """
        self.out, self.sources, self.batch_size = out, list(sources), batch_size
        self.facts = RunFacts(fingerprint, dict(info or {}), tuple(scores), tuple(features))
        self.claims = Claims(out, stale, heartbeat)
        self.stats = ProcessStats(out, self.claims.me, batch_size)
        self.sizes = ShardSizes(out, self.sources, rows, limit)
        self.commits = CommitTracker(out, self.sources, self.sizes, self.claims, self.facts)
        self.leases = Leases(out, self.sources, self.claims)
        self.scheduler = Scheduler(out, self.sources, batch_size, self.sizes, self.commits, self.leases, rank, world)
        self._failed_before = failed_count(out) if watched else 0
        self._loaded = False
        self._committed: Mapping[str, Mapping[str, Any]] = {}  # records that were known at the start

    def tasks(self) -> Generator[BatchTask | None, None, None]:
        """Batches that no process has, each once; ends when there are no more. Never waits.

        None means that shards are being opened and none that is open has a free batch: go on when one of them is open.
        Until ``complete`` is true, call it again: batches of other processes become free when those die. Batches with
        which processes died come last, one record at a time while this process has nothing else.

        Raises:
            StorageError: OUT cannot be written.
        """
        self.load_commits()
        yield from self.scheduler.tasks()

    def load_commits(self) -> None:
        """Learn what is committed, and take back what is damaged; once, since it asks for every file of the run.

        Raises:
            StorageError: OUT cannot be read or written.
        """
        if not self._loaded:
            self.out.probe(RUN)
            fingerprint, stems = self.facts.fingerprint, [source.stem for source in self.sources]
            found = list_commits(self.out, stems, fingerprint, self.sizes.limit)
            good = retract_damaged(self.out, found)
            self._committed = {stem: record for stem, record in found.records.items() if stem in good}
            self.commits.load(good)
            if self.sizes.limit is not None:  # all of these were read
                self.sizes.learn({stem: record["counts"]["records"] for stem, record in self._committed.items()})
            if len(good) < len(stems):
                keep_manifest(self.out, found, fingerprint)
            self._loaded = True

    def finish(self, source: int, batch: int, rows: Sequence[Row]) -> None:
        """Write a batch's rows as parts and, if that completes the shard, commit it.

        Rows that another process has written meanwhile are dropped.

        Raises:
            ValueError: a row is not of this batch.
            StorageError: OUT cannot be written; the batch counts as not done.
        """
        stem = self.sources[source].stem
        first, stop = self.sizes.span(source, batch, self.batch_size)
        if any(not first <= row.index < stop for row in rows):
            raise ValueError(f"batch {batch} of {stem} is records {first} to {stop - 1}")
        try:
            written = self._write(stem, first, stop, rows)
        finally:
            self.release(source, batch)
        self.stats.count(written)
        self.commits.commit_if_complete(source)

    def release(self, source: int, batch: int) -> None:
        """Give back a batch, done or not; ``tasks`` may yield one that is not done again."""
        self.leases.release(source, batch)

    @property
    def idle(self) -> bool:
        """Whether this process has no batch: all that ``tasks`` yielded are finished or released."""
        return self.leases.empty

    def complete(self) -> bool:
        """True where all shards are committed (with a limit: those with its records)."""
        return self.commits.all_committed()

    def totals(self) -> Totals:
        """Records ok and failed so far over all processes, and how many there are in all."""
        return totals(self.out, self.sources, self.sizes.limit, self.sizes.known, self._committed)

    def failed_elsewhere(self) -> int:
        """Records that failed in other processes since this one began, as far as they have told."""
        return failed_count(self.out) - self._failed_before - self.stats.failed

    def record_counts(self) -> list[int] | None:
        """Records of each shard that the run needs, in order; None while those that are not committed are opened."""
        active = self.sizes.active()
        sizes = [self.sizes.of(number) for number in active or ()]
        known = [size for size in sizes if size is not None]
        return None if active is None or len(known) < len(sizes) else known

    def close(self) -> None:
        """End ``tasks``, give claims back. What is written stays."""
        self.leases.close()

    def _write(self, stem: str, first: int, stop: int, rows: Sequence[Row]) -> list[Row]:
        """Write the rows that no part has yet; returns those that this process wrote."""
        wanted = set(parts.missing_records(parts.covered_ranges(self.out, stem), first, stop))
        if self.out.exists(commit_file(stem)):
            wanted = set()
        written: list[Row] = []
        host, attempt = str(self.claims.me["host"]), parts.attempt(self.out, stem)
        for group in result_rows.contiguous([row for row in rows if row.index in wanted]):
            part = result_rows.table(group, stem, self.facts.scores, self.facts.features, host, attempt)
            if parts.write(self.out, stem, part):
                written += group
        return written

"""The ledger: which batches this process takes, and what becomes of them.

State is files only. A batch is done when its part is on disk, a shard when its commit record is; claims keep
processes from doing the same work and nothing depends on them. A batch with which processes died is done last, one
record at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask, sort_out
from fcs.shards.ledger.claims import HEARTBEAT, SLICE, STALE, Claims
from fcs.shards.ledger.commits import Commits, RunFacts, end
from fcs.shards.ledger.crash_markers import marks
from fcs.shards.ledger.inspection import Totals, look_over, totals
from fcs.shards.ledger.layout import RUN, claims_folder, commit_file
from fcs.shards.ledger.leases import Leases
from fcs.shards.ledger.parts import Row
from fcs.shards.ledger.process_stats import ProcessStats, failures
from fcs.shards.ledger.retry import expand
from fcs.shards.ledger.scheduling import AHEAD, Step, walk, window
from fcs.shards.ledger.shard_sizes import ShardSizes
from fcs.shards.store.base import Store


class Ledger:
    """One process's view of a run. ``work`` and ``finish`` may be called from different threads."""

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
        stale: float = STALE,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """Describe this process's share; nothing is written yet.

        Args:
            out: the run's store, pinned.
            sources: its shards, in the pinned order.
            batch_size: records a batch; batch b of a shard is its records ``b * B`` to ``b * B + B - 1``.
            rows: of shard number i; None while another thread opens it. Asked from ``work`` and ``prepare`` only.
            limit: first N records over the list.
            rank: this process starts at shard ``rank * n / world``, within it at that fraction of its slices.
            world: number of processes that were started together, over all tasks of a job array.
            scores: names of scores that rows may have.
            features: names of features that rows may have.
            fingerprint: of the run's settings, for commit records.
            info: further entries for commit records (versions, card).
            stale: seconds of silence after which a claim is void.
            heartbeat: seconds between touches of our own claims.
        """
        self.out, self.sources, self.batch_size = out, list(sources), batch_size
        self.rank, self.world = rank, world
        self.facts = RunFacts(fingerprint, dict(info or {}), tuple(scores), tuple(features))
        self.claims = Claims(out, stale, heartbeat)
        self.worker = ProcessStats(out, self.claims.me, batch_size)
        self.counts = ShardSizes(out, self.sources, rows, limit)
        self.finished = Commits(out, self.sources, self.counts, self.claims, self.facts)
        self.hands = Leases(out, self.sources, self.claims)
        self._failures_before = failures(out)
        self._looked = False
        self._waits = 0  # walks in a row that found nothing free

    def work(self) -> Iterator[BatchTask | None]:
        """Batches that no process has in hand, each once; ends when there are no more. Never waits.

        None means that no shard is open in which something is free: go on when one of those that are being opened is.
        Until ``complete`` is true, call it again: batches that other processes hold may become free, when they die.
        What processes died with comes when there is nothing else to take: one record while nothing else is in hand.

        Raises:
            StorageError: OUT cannot be written.
        """
        self.look()
        found = not self.hands.alone
        suspects: list[tuple[int, int]] = []
        while found and not self.hands.closed:
            found, suspects = False, []
            for step in self._open_steps():
                if step is None:
                    yield None
                    continue
                for item in self._shard(step, suspects):
                    found, self._waits = True, 0
                    yield item
            if self.complete():
                end(self.out)
                return
        self._waits += 1
        yield from self._one(suspects)

    def look(self) -> None:
        """Learn what is committed, take back what is damaged: once, since it asks for every file of the run.

        Raises:
            StorageError: OUT cannot be read or written.
        """
        if not self._looked:
            self.out.probe(RUN)
            self.finished.see(look_over(self.out, self.sources))
            self._looked = True

    def finish(self, source: int, batch: int, rows: Sequence[Row]) -> None:
        """Write a batch's rows as parts and, if that completes the shard, commit it.

        Rows that another process has written meanwhile are dropped.

        Raises:
            ValueError: a row is not of this batch.
            StorageError: OUT cannot be written; the batch counts as not done.
        """
        stem = self.sources[source].stem
        first, stop = self.counts.span(source, batch, self.batch_size)
        if any(not first <= row.index < stop for row in rows):
            raise ValueError(f"batch {batch} of {stem} is records {first} to {stop - 1}")
        try:
            written = self._write(stem, first, stop, rows)
        finally:
            self.abandon(source, batch)
        self.worker.count(written)
        self.finished.commit(source)

    def abandon(self, source: int, batch: int) -> None:
        """Give back a batch that will not be finished; ``work`` may yield it again."""
        self.hands.put_down(source, batch)

    @property
    def idle(self) -> bool:
        """Whether this process has nothing in hand: all that ``work`` gave out is finished or given back."""
        return self.hands.empty

    def complete(self) -> bool:
        """True where all shards are committed (with a limit: those with its records)."""
        return self.finished.all()

    def totals(self) -> Totals:
        """Records ok and failed so far over all processes, and how many there are in all."""
        return totals(self.out, self.sources, self.counts.limit, self.counts.known)

    def failed_elsewhere(self) -> int:
        """Records that failed in other processes since this one began, as far as they have told."""
        return failures(self.out) - self._failures_before - self.worker.failed

    def prepare(self) -> list[int] | None:
        """Records of each shard that the run needs, in order; None while those that are not committed are opened."""
        active = self.counts.active()
        sizes = [self.counts.of(number) for number in active or ()]
        known = [size for size in sizes if size is not None]
        return None if active is None or len(known) < len(sizes) else known

    def close(self) -> None:
        """End ``work``, give claims back. What is written stays."""
        self.hands.close()

    def _open_steps(self) -> Iterator[Step | None]:
        """The shards to go over, each when it is open; None where none is yet. The next ones are opened meanwhile."""
        while (active := self.counts.active()) is None:
            yield None
        steps = walk(active, self.rank, self.world, self.out.exclusive)
        left = iter(window([step for step in steps if not self.finished.seen(step.number)], self._waits))
        opening: list[Step] = []
        while not self.hands.closed:
            while len(opening) < AHEAD and (step := next(left, None)) is not None:
                if self._has_work(step.number):
                    opening.append(step)
            if not opening:
                return
            ready = next((step for step in opening if self.counts.of(step.number) is not None), None)
            if ready is not None:
                opening.remove(ready)
            yield ready

    def _has_work(self, number: int) -> bool:
        """Whether a shard must be looked at, as far as that can be said without opening it."""
        if self.finished.has(number):
            return False
        listed = self.counts.listed(number)
        if number in self.counts.known or not listed:
            return True
        stem, size = self.sources[number].stem, SLICE * self.batch_size
        covered = parts.covered(self.out, stem)
        starts = [first for first in range(0, listed, size) if parts.missing(covered, first, min(first + size, listed))]
        return not starts or any(self.hands.free(number, first // size) for first in starts)

    def _shard(self, step: Step, suspects: list[tuple[int, int]]) -> Iterator[BatchTask]:
        """Batches of a shard that nobody has, of our slices or of the others' or of all.

        Slices with records that must be done alone are added to ``suspects``.
        """
        number, own, begin = step
        if self.finished.has(number):
            return
        stem, count = self.sources[number].stem, self.counts.known[number]
        expand(self.out, stem)
        covered = parts.covered(self.out, stem)
        if not parts.missing(covered, 0, count):
            self.finished.commit(number, wait=False)  # empty, or left by a process that was killed before it could
            return
        size = SLICE * self.batch_size
        pieces = -(-count // size)
        first = int(begin * pieces)
        for piece in (*range(first, pieces), *range(first)):
            if self.hands.closed:
                return
            if not parts.missing(covered, piece * size, min(count, (piece + 1) * size)):
                continue
            if own is not None and own != ((number + piece - self.rank) % self.world == 0):
                continue
            if self.hands.take(number, piece):
                ready, singles = self._todo(number, piece)
                if singles:
                    suspects.append((number, piece))
                yield from self._give(number, piece, ready)

    def _one(self, suspects: Sequence[tuple[int, int]]) -> Iterator[BatchTask]:
        """A single record of a slice that has such, if nothing is in hand."""
        for number, piece in suspects:
            if self.hands.closed or not self.hands.empty:
                break
            if self.hands.take(number, piece):
                _, singles = self._todo(number, piece)
                yield from self._give(number, piece, singles[:1], alone=True)
                if singles:
                    return

    def _todo(self, number: int, piece: int) -> tuple[list[BatchTask], list[BatchTask]]:
        """What is missing of a slice that is ours now: for now, and what must be done alone."""
        stem = self.sources[number].stem
        covered = parts.covered(self.out, stem)
        batches = range(piece * SLICE, min((piece + 1) * SLICE, -(-self.counts.known[number] // self.batch_size)))
        spans = ((batch, self.counts.span(number, batch, self.batch_size)) for batch in batches)
        todo = [BatchTask(number, batch, tuple(parts.missing(covered, *span))) for batch, span in spans]
        left = marks(self.out.names(claims_folder(stem)), str(self.claims.me["id"]))
        # Looked at after the parts; the other way round, a commit in between would make all look missing.
        todo = [] if self.finished.has(number) else [item for item in todo if item.wanted]
        return sort_out(todo, left)

    def _give(self, number: int, piece: int, todo: Sequence[BatchTask], alone: bool = False) -> Iterator[BatchTask]:
        """Give out batches of a slice that is ours; what is not taken is put down."""
        left = [item.batch for item in todo]
        self.hands.hold(number, piece, left)
        try:
            for item in todo:
                self.hands.mark(number, item.batch, item.wanted, alone)
                left.remove(item.batch)
                yield item
                if self.hands.closed:
                    break
        finally:
            self.hands.put_down(number, *left, piece=piece)

    def _write(self, stem: str, first: int, stop: int, rows: Sequence[Row]) -> list[Row]:
        """Write the rows that no part has yet; those that this process wrote."""
        wanted = set(parts.missing(parts.covered(self.out, stem), first, stop))
        if self.out.exists(commit_file(stem)):
            wanted = set()
        written: list[Row] = []
        host, attempt = str(self.claims.me["host"]), parts.attempt(self.out, stem)
        for run in parts.contiguous([row for row in rows if row.index in wanted]):
            part = parts.table(run, stem, self.facts.scores, self.facts.features, host, attempt)
            if parts.write(self.out, stem, part):
                written += run
        return written

"""The ledger: which batches this process takes, and what becomes of them.

State is files only. A batch is done when its part is on disk, a shard when its commit record is; claims keep
processes from doing the same work and nothing depends on them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from fcs.shards import commit, parts
from fcs.shards.claims import HEARTBEAT, SLICE, STALE, Claims, is_own
from fcs.shards.committed import committed
from fcs.shards.layout import CLAIMS, PARTS, RUN, SUMMARY, claims_folder, commit_file, parts_folder
from fcs.shards.parts import Row
from fcs.shards.progress import Totals, look_over, totals
from fcs.shards.reopen import expand
from fcs.shards.sources import Source
from fcs.shards.store import Store
from fcs.shards.summary import write_summary
from fcs.shards.workers import Worker, failures

_MERGE = "merge"


class Work(NamedTuple):
    """A batch to do: which shard, which batch of it, and the records that are wanted."""

    source: int
    batch: int
    wanted: tuple[int, ...]


class Ledger:
    """One process's view of a run. ``work`` and ``finish`` may be called from different threads."""

    def __init__(
        self,
        out: Store,
        sources: Sequence[Source],
        batch_size: int,
        length: Callable[[int], int],
        *,
        limit: int | None = None,
        rank: int = 0,
        world: int = 1,
        scores: Sequence[str] = (),
        features: Sequence[str] = (),
        fingerprint: str = "",
        info: dict[str, Any] | None = None,
        poll: float = 1.0,
        stale: float = STALE,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """Describe this process's share; nothing is written yet.

        Args:
            out: the run's store, pinned.
            sources: its shards, in the pinned order.
            batch_size: records a batch; batch b of a shard is its records ``b * B`` to ``b * B + B - 1``.
            length: rows of shard number i; called at most once per shard, from ``work`` and ``prepare`` only.
            limit: first N records over the list.
            rank: this process starts at shard ``rank * n / world``.
            world: number of processes that were started together.
            scores: names of scores that rows may have.
            features: names of features that rows may have.
            fingerprint: of the run's settings, for commit records.
            info: further entries for commit records (versions, card).
            poll: seconds between two looks at other processes' work.
            stale: seconds of silence after which a claim is void.
            heartbeat: seconds between touches of our own claims.
        """
        self.out, self.sources, self.batch_size, self.limit = out, list(sources), batch_size, limit
        self.rank, self.world, self.poll = rank, world, poll
        self.scores, self.features = tuple(scores), tuple(features)
        self.fingerprint, self.info = fingerprint, dict(info or {})
        self.claims = Claims(self.out, stale, heartbeat)
        self.worker = Worker(self.out, self.claims.me)
        self._failures_before = failures(self.out)
        self._length = length
        self._counts: dict[int, int] = {}
        self._done: set[int] = set()
        self._slices: dict[tuple[int, int], set[int]] = {}  # ours, with the batches that are not on disk yet
        self._changed = threading.Condition(threading.RLock())
        self._merging = threading.Lock()
        self._closed = False

    def work(self, wait: bool = True) -> Iterator[Work]:
        """Batches to do, each once, until all shards are committed.

        Args:
            wait: with nothing left to take, wait for the batches that this process and others have in hand,
                and take over what is given up; ``finish`` must be called from another thread then.
                Otherwise end there; call again until ``complete``.

        Raises:
            StorageError: OUT cannot be written.
        """
        self.out.probe(RUN)
        self._see(look_over(self.out, self.sources))
        while not self._closed:
            idle = True
            for number, own in self._walk():
                for item in self._shard(number, own):
                    idle = False
                    yield item
            if self.complete():
                if not (self.out.json(SUMMARY) or {}).get("complete"):
                    write_summary(self.out)  # whoever committed the last shard was killed before it could
                commit.prune(self.out)
                return
            if idle and not wait:
                return
            if idle:
                with self._changed:
                    self._changed.wait(self.poll)

    def finish(self, source: int, batch: int, rows: Sequence[Row]) -> None:
        """Write a batch's rows as parts and, if that completes the shard, commit it.

        Rows that another process has written meanwhile are dropped.

        Raises:
            ValueError: a row is not of this batch.
            StorageError: OUT cannot be written; the batch counts as not done.
        """
        stem = self.sources[source].stem
        first, stop = self._range(source, batch)
        if any(not first <= row.index < stop for row in rows):
            raise ValueError(f"batch {batch} of {stem} is records {first} to {stop - 1}")
        try:
            written = self._write(stem, first, stop, rows)
        except BaseException:
            self.abandon(source, batch)
            raise
        self._put_down(source, batch)
        self.worker.count(written)
        self._commit(source)

    def abandon(self, source: int, batch: int) -> None:
        """Give back a batch that will not be finished; ``work`` may yield it again."""
        self._put_down(source, batch)

    def complete(self) -> bool:
        """True where all shards are committed (with a limit: those with its records)."""
        left = self.limit
        for number in range(len(self.sources)):
            if left is not None and left <= 0:
                break
            if not self._is_committed(number):
                return False
            left = None if left is None else left - self._count(number, left)
        return True

    def totals(self) -> Totals:
        """Records ok and failed so far over all processes, and how many there are in all."""
        return totals(self.out, self.sources, self.limit, self._counts)

    def failed_elsewhere(self) -> int:
        """Records that failed in other processes since this one began, as far as they have told."""
        return failures(self.out) - self._failures_before - self.worker.failed

    def prepare(self) -> list[int]:
        """Records of each shard that the run needs, in order; opens those that are not committed."""
        return [self._count(number) for number in self._active()]

    def close(self) -> None:
        """End ``work``, give claims back. What is written stays."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.claims.close()

    def _active(self) -> list[int]:
        """Shards with records of the run; with a limit that needs the counts of those before."""
        if self.limit is None:
            return list(range(len(self.sources)))
        left, active = self.limit, []
        for number in range(len(self.sources)):
            if left <= 0:
                break
            active.append(number)
            left -= self._count(number, left)
        return active

    def _walk(self) -> list[tuple[int, bool | None]]:
        """Shards in the order in which they are gone over; which slices of each: None for all, or ours or the others'.

        Where a store cannot tell who claimed a slice first, each process takes those that nobody else begins with.
        """
        active = self._active()
        start = self.rank * len(active) // self.world
        walk = active[start:] + active[:start]
        return [(number, own) for own in ([None] if self.out.exclusive else [True, False]) for number in walk]

    def _count(self, number: int, left: int | None = None) -> int:
        """Records of a shard that belong to the run; ``left`` of the limit remain for it."""
        if number not in self._counts:
            record = committed(self.out, self.sources[number].stem)
            size = self._length(number) if record is None else int(record["counts"]["records"])
            self._counts[number] = size if left is None else min(size, left)
        return self._counts[number]

    def _range(self, number: int, batch: int) -> tuple[int, int]:
        first = batch * self.batch_size
        return first, min(first + self.batch_size, self._counts[number])

    def _shard(self, number: int, own: bool | None) -> Iterator[Work]:
        """Batches of a shard that nobody has, of our slices or of the others' or (None) of all."""
        if self._is_committed(number):
            return
        stem, count = self.sources[number].stem, self._count(number)
        expand(self.out, stem)
        covered = parts.covered(self.out, stem)
        if not parts.missing(covered, 0, count):
            self._commit(number, wait=False)  # empty, or left by a process that was killed before it could
            return
        size = SLICE * self.batch_size
        for piece in range(-(-count // size)):
            if self._closed:
                return
            if not parts.missing(covered, piece * size, min(count, (piece + 1) * size)):
                continue
            if own is not None and own != is_own(number + piece, self.rank, self.world):
                continue
            with self._changed:
                ours = (number, piece) in self._slices
            if not ours and self.claims.take(stem, _name(piece)):
                yield from self._slice(number, piece)

    def _slice(self, number: int, piece: int) -> Iterator[Work]:
        """Batches of a slice that is ours now, as far as its former owner has not written them."""
        covered = parts.covered(self.out, self.sources[number].stem)
        batches = range(piece * SLICE, min((piece + 1) * SLICE, -(-self._counts[number] // self.batch_size)))
        todo = [Work(number, b, tuple(parts.missing(covered, *self._range(number, b)))) for b in batches]
        todo = [item for item in todo if item.wanted]
        # Looked at after the parts; the other way round, a commit in between would make all look missing.
        if self._is_committed(number):
            todo = []
        with self._changed:
            self._slices[number, piece] = {item.batch for item in todo}
        left = {item.batch for item in todo}
        try:
            for item in todo:
                left.discard(item.batch)
                yield item
                if self._closed:
                    break
        finally:
            self._put_down(number, *left, piece=piece)

    def _put_down(self, number: int, *batches: int, piece: int | None = None) -> None:
        """Batches are not in hand any more; a slice without any is given back."""
        piece = batches[0] // SLICE if piece is None else piece
        with self._changed:
            held = self._slices.get((number, piece))
            if held is None:
                return
            held.difference_update(batches)
            if not held:
                del self._slices[number, piece]
                self.claims.release(self.sources[number].stem, _name(piece))
            self._changed.notify_all()

    def _write(self, stem: str, first: int, stop: int, rows: Sequence[Row]) -> list[Row]:
        """Write the rows that no part has yet; those that this process wrote."""
        wanted = set(parts.missing(parts.covered(self.out, stem), first, stop))
        if self.out.exists(commit_file(stem)):
            wanted = set()
        written: list[Row] = []
        host, attempt = str(self.claims.me["host"]), parts.attempt(self.out, stem)
        for run in parts.contiguous([row for row in rows if row.index in wanted]):
            part = parts.table(run, stem, self.scores, self.features, host, attempt)
            if parts.write(self.out, stem, part):
                written += run
        return written

    def _commit(self, number: int, wait: bool = True) -> None:
        """Merge a shard whose parts are all there, unless another process is at it."""
        stem, count = self.sources[number].stem, self._counts[number]
        if not self._merging.acquire(blocking=wait):
            return
        try:
            if self.out.exists(commit_file(stem)):
                self._done.discard(number)  # look again: a late part may lie there now
                self._is_committed(number)
                return
            if parts.missing(parts.covered(self.out, stem), 0, count) or not self.claims.take(stem, _MERGE):
                return
            try:
                names = (self.scores, self.features)
                done = commit.commit(self.out, stem, count, self.fingerprint, self.info, *names)
            finally:
                self.claims.release(stem, _MERGE)
        finally:
            self._merging.release()
        if done:
            self._done.add(number)
            if self.complete():
                write_summary(self.out)
            with self._changed:
                self._changed.notify_all()

    def _see(self, stems: Collection[str]) -> None:
        """Learn which shards are committed from one look at all, and clean up behind those that need it."""
        tops = [self.out.tree(top) for top in (PARTS, CLAIMS)]
        left = {name.partition("/")[2].rpartition("/")[0] for top in tops for name in top}
        self._done = {number for number, source in enumerate(self.sources) if source.stem in stems}
        for number in [number for number in self._done if self.sources[number].stem in left]:
            self._done.discard(number)
            self._is_committed(number)

    def _is_committed(self, number: int) -> bool:
        if number in self._done:
            return True
        stem = self.sources[number].stem
        if not self.out.exists(commit_file(stem)):
            return False
        left = self.out.names(parts_folder(stem)) or self.out.names(claims_folder(stem))
        if left and not commit.clean(self.out, stem, self.features):  # a process that was killed left it
            return False
        self._done.add(number)
        return True


def _name(piece: int) -> str:
    return f"{piece:06d}"

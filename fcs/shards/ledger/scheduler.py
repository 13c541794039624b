"""The scheduler: which batches this process takes next.

It visits the shards in its own order, claims slices that are free and hands out those of their batches that no part
covers. A batch with which processes died is done last, one record at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fcs.shards.input.sources import Source
from fcs.shards.ledger import parts
from fcs.shards.ledger.batch_task import BatchTask, split_suspects
from fcs.shards.ledger.claims import SLICE
from fcs.shards.ledger.commit_tracker import CommitTracker, finish_run
from fcs.shards.ledger.crash_markers import read_markers
from fcs.shards.ledger.layout import claims_folder
from fcs.shards.ledger.leases import Leases, slice_name
from fcs.shards.ledger.retry import expand
from fcs.shards.ledger.shard_order import OPEN_AHEAD, ShardVisit, most_passed, polled_shards, shard_order
from fcs.shards.ledger.shard_sizes import ShardSizes
from fcs.shards.store.base import Store

Slice = tuple[int, int]  # numbers of a shard and of a slice in it


class Scheduler:
    """Tasks for one process of ``world``, this one being number ``rank``."""

    def __init__(
        self,
        out: Store,
        sources: Sequence[Source],
        batch_size: int,
        sizes: ShardSizes,
        commits: CommitTracker,
        leases: Leases,
        rank: int,
        world: int,
    ) -> None:
        self.out, self.sources, self.batch_size = out, sources, batch_size
        self.sizes, self.commits, self.leases = sizes, commits, leases
        self.rank, self.world = rank, world
        self._most_passed = most_passed(world)
        self._idle_passes = 0  # in a row that found nothing free
        self._passed = 0  # shards in a row, of this pass, of which others have all that is to do

    def tasks(self) -> Iterator[BatchTask | None]:
        """Batches that no process has; see ``Ledger.tasks``."""
        found = not self.leases.alone
        suspects: list[Slice] = []
        while found and not self.leases.closed:
            found, suspects, self._passed = False, [], 0
            for visit in self._open_visits():
                if visit is None:
                    yield None
                    continue
                self._passed += 1
                for task in self._shard_tasks(visit, suspects):
                    found, self._idle_passes, self._passed = True, 0, 0
                    yield task
            if self.commits.all_committed():
                finish_run(self.out)
                return
        self._idle_passes += 1
        yield from self._one_record(suspects)

    def _open_visits(self) -> Iterator[ShardVisit | None]:
        """The shards to visit, each when it is open; None where none is yet. The next ones are opened meanwhile."""
        while (active := self.sizes.active()) is None:
            yield None
        order = shard_order(active, self.rank, self.world, self.out.exclusive)
        order = [visit for visit in order if not self.commits.is_known(visit.number)]
        following = iter(polled_shards(order, self._idle_passes))
        opening: list[ShardVisit] = []
        while not self.leases.closed:
            while len(opening) < OPEN_AHEAD and self._passed < self._most_passed:
                visit = next(following, None)
                if visit is None:
                    break
                if self.commits.is_committed(visit.number):
                    continue
                if self._may_have_tasks(visit.number):
                    opening.append(visit)
                else:
                    self._passed += 1
            if not opening:
                return
            opened = [visit for visit in opening if self.sizes.of(visit.number) is not None]
            if opened:
                opening.remove(opened[0])
            yield opened[0] if opened else None

    def _may_have_tasks(self, number: int) -> bool:
        """Whether a shard that is not committed must be visited, as far as that can be said without opening it."""
        listed = self.sizes.listed(number)
        if number in self.sizes.known or not listed:
            return True
        size, covered = SLICE * self.batch_size, parts.covered_ranges(self.out, self.sources[number].stem)
        firsts = range(0, listed, size)
        begun = [first for first in firsts if parts.missing_records(covered, first, min(first + size, listed))]
        return not begun or any(self.leases.is_free(number, first // size) for first in begun)

    def _shard_tasks(self, visit: ShardVisit, suspects: list[Slice]) -> Iterator[BatchTask]:
        """Batches of free slices of a shard. Slices with records that must be done alone are added to ``suspects``."""
        number, own, start = visit
        if self.commits.is_committed(number):
            return
        stem, count = self.sources[number].stem, self.sizes.known[number]
        expand(self.out, stem)
        covered = parts.covered_ranges(self.out, stem)
        if not parts.missing_records(covered, 0, count):
            # Empty, or its last process was killed before it could commit.
            self.commits.commit_if_complete(number, wait=False)
            return
        size = SLICE * self.batch_size
        slices = -(-count // size)
        first = int(start * slices)
        claimed = set(self.out.names(claims_folder(stem)))
        for slice_number in (*range(first, slices), *range(first)):
            if self.leases.closed:
                return
            if not parts.missing_records(covered, slice_number * size, min(count, (slice_number + 1) * size)):
                continue
            if own is not None and own != ((number + slice_number - self.rank) % self.world == 0):
                continue
            if slice_name(slice_number) in claimed and not self.leases.is_free(number, slice_number):
                continue  # to look costs less than to try
            if self.leases.acquire(number, slice_number):
                ready, alone = self._missing_tasks(number, slice_number)
                if alone:
                    suspects.append((number, slice_number))
                yield from self._hand_out(number, slice_number, ready)

    def _one_record(self, suspects: Sequence[Slice]) -> Iterator[BatchTask]:
        """A record that must be done alone, if there is one and this process has nothing else."""
        for number, slice_number in suspects:
            if self.leases.closed or not self.leases.empty:
                break
            if self.leases.acquire(number, slice_number):
                _, alone = self._missing_tasks(number, slice_number)
                yield from self._hand_out(number, slice_number, alone[:1], alone=True)
                if alone:
                    return

    def _missing_tasks(self, number: int, slice_number: int) -> tuple[list[BatchTask], list[BatchTask]]:
        """What is missing of a slice that was acquired: what can be done now, and what must be done alone."""
        stem, sizes = self.sources[number].stem, self.sizes
        covered = parts.covered_ranges(self.out, stem)
        batches = range(
            slice_number * SLICE, min((slice_number + 1) * SLICE, -(-sizes.known[number] // self.batch_size))
        )
        spans = ((batch, sizes.span(number, batch, self.batch_size)) for batch in batches)
        tasks = [BatchTask(number, batch, tuple(parts.missing_records(covered, *span))) for batch, span in spans]
        markers = read_markers(self.out.names(claims_folder(stem)), str(self.leases.claims.me["id"]))
        # Asked after the parts: the other way round, a commit in between would make all records look missing.
        tasks = [] if self.commits.is_committed(number) else [task for task in tasks if task.wanted]
        return split_suspects(tasks, markers)

    def _hand_out(
        self, number: int, slice_number: int, tasks: Sequence[BatchTask], alone: bool = False
    ) -> Iterator[BatchTask]:
        """Yield tasks of a slice that was acquired; what is not taken is released."""
        remaining = [task.batch for task in tasks]
        self.leases.hold(number, slice_number, remaining)
        try:
            for task in tasks:
                self.leases.mark(number, task.batch, task.wanted, alone)
                remaining.remove(task.batch)
                yield task
                if self.leases.closed:
                    break
        finally:
            self.leases.release(number, *remaining, slice_number=slice_number)

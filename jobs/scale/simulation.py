"""A run on any number of processes, event by event: who takes which slice when, and how long the store makes them wait.

Each process has a range of slices that it begins with, and takes from those of the next ones when its own is done.
While all are in their own ranges nothing depends on the order of events; that part is computed, the rest simulated.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field

from fcs.engine.data_module import LONGEST, POLL, POLLS
from fcs.shards.ledger.claims import HEARTBEAT, SLICE
from fcs.shards.ledger.shard_order import POLLED_SHARDS, most_passed

OWN = 8  # slices of its own range that the fastest process has left when the simulation begins


@dataclass(frozen=True)
class Asked:
    """Operations that the ledger asks a store for, and what it does itself.

    Attributes:
        start, committed: at a process's start; more for each shard that is committed then.
        learn: of learning once what others have committed; for each shard of the run.
        slice, part: of taking and giving back a slice; of writing a batch.
        shard, merged: of committing a shard; more for each of its parts.
        look: at a shard in which others have all that is to do.
        merge: seconds of CPU to merge a record.
        startup: seconds from the command to the first look at the store.
    """

    start: float
    committed: float
    learn: float
    slice: float
    part: float
    shard: float
    merged: float
    look: float
    merge: float
    startup: float


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        records, shard, batch: of the run, of a shard, of a batch.
        seconds: of a record on one process.
        spread: the processes' speeds differ by at most so much from the mean, as a fraction of it.
    """

    records: int
    shard: int
    batch: int
    seconds: float
    spread: float = 0.02

    @property
    def shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.records / self.shard)

    @property
    def slices(self) -> int:
        """Number of slices in a shard."""
        return math.ceil(self.shard / (SLICE * self.batch))


@dataclass
class Server:
    """A store that answers one operation after the other.

    Attributes:
        rate: operations a second that it does.
        latency: seconds of one where nothing else is asked.
        free: when it has done what was asked until now.
        asked: operations until now.
    """

    rate: float
    latency: float
    free: float = 0.0
    asked: float = 0.0

    def ask(self, now: float, operations: float) -> float:
        """When so many operations, one after the other, are answered."""
        self.asked += operations
        self.free = max(self.free, now) + operations / self.rate
        return max(self.free, now + operations * self.latency)


@dataclass
class Process:
    """One process of a run.

    Attributes:
        first, stop: what is left of the slices that it begins with.
        speed: relative to the mean.
        written: when its last results are on the store.
        learned: it has listed what others have committed.
        waits: it has found nothing free the last time.
        sampled: the slice whose results are to be written, if there is one.
    """

    first: int
    stop: int
    speed: float
    written: float = 0.0
    learned: bool = False
    waits: bool = False
    sampled: int | None = None


@dataclass
class Outcome:
    """What a run took.

    Attributes:
        seconds: from the first start to the last commit.
        idle: when the first process found nothing free.
        operations: of all processes together.
        at_work: operations a second while all are in their own ranges.
        waited: seconds that processes waited for the store before they began, on average.
    """

    seconds: float = 0.0
    idle: float = math.inf
    operations: float = 0.0
    at_work: float = 0.0
    waited: float = 0.0


@dataclass
class Run:
    """The state of a simulated run."""

    plan: Plan
    asked: Asked | None
    server: Server
    world: int
    seed: int = 0
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        total, random_ = self.plan.shards * self.plan.slices, random.Random(self.seed)
        bounds = [total * number // self.world for number in range(self.world + 1)]
        spread = self.plan.spread
        speeds = [1 + random_.uniform(-spread, spread) for _ in range(self.world)]
        self.processes = [Process(*place) for place in zip(bounds[:-1], bounds[1:], speeds, strict=True)]
        self.next = list(range(self.world))  # to a process with slices left, by way of others; itself while it has some
        self.free = total  # slices that nobody has taken
        self.left: dict[int, int] = {}  # slices to do by shard
        self.undone = self.plan.shards
        self.pause = min(LONGEST, max(POLL, self.world / POLLS))

    def simulate(self, committed: int = 0) -> Outcome:
        """The run to its end; ``committed`` shards are there already and cost only what a start asks for them."""
        events = [(self._begin(process, committed), number) for number, process in enumerate(self.processes)]
        self.outcome.waited = sum(time for time, _ in events) / self.world - self.asked.startup
        self._skip(events)
        heapq.heapify(events)
        while self.undone:
            now, number = events[0]
            heapq.heapreplace(events, (self._step(now, number), number))
        self.outcome.operations = self.server.asked
        self.outcome.seconds = max(self.outcome.seconds, *(process.written for process in self.processes))
        self.outcome.idle = min(self.outcome.idle, self.outcome.seconds)
        return self.outcome

    def _begin(self, process: Process, committed: int) -> float:
        return self.server.ask(self.asked.startup, self.asked.start + self.asked.committed * committed)

    @property
    def _seconds(self) -> float:
        """Of a slice."""
        return self.plan.shard / self.plan.slices * self.plan.seconds

    @property
    def _operations(self) -> float:
        """Of a slice, with the heartbeats of its claim and without commits."""
        return (
            self.asked.slice
            + self._seconds / HEARTBEAT
            + self.plan.shard / self.plan.slices / self.plan.batch * self.asked.part
        )

    def _skip(self, events: list[tuple[float, int]]) -> None:
        """All processes in their own ranges, until the fastest has few slices left."""
        parts = math.ceil(self.plan.shard / self.plan.batch)
        per_slice = self._operations + (self.asked.shard + parts * self.asked.merged) / self.plan.slices
        seconds = max(self._seconds, self.world * per_slice / self.server.rate)
        self.outcome.at_work = self.world * per_slice / seconds
        fastest = max(self.processes, key=lambda process: process.speed)
        own = min(process.stop - process.first for process in self.processes)
        until = max(0, own - OWN) / fastest.speed
        for place, (time, number) in enumerate(events):
            process = self.processes[number]
            done = int(until * process.speed)
            process.first += done
            self.server.asked += done * per_slice
            events[place] = (time + done * seconds / process.speed, number)
            self.free -= done
        self.server.free = 0.0
        self._count_shards()

    def _count_shards(self) -> None:
        """Slices that are still to do, by shard."""
        for process in self.processes:
            for number in range(process.first, process.stop):
                shard = number // self.plan.slices
                self.left[shard] = self.left.get(shard, 0) + 1
        self.undone = len(self.left)

    def _step(self, now: float, number: int) -> float:
        """What a process does next, from ``now`` on; returns when it comes back."""
        process = self.processes[number]
        self._write(now, process)
        taken, passed = self._take(number)
        asked = passed * self.asked.look
        if passed and not process.learned:
            asked += self.asked.learn * self.plan.shards
            process.learned = True
        if taken is None:
            self.outcome.idle = min(self.outcome.idle, now)
            asked = min(POLLED_SHARDS, self.undone) * self.asked.look if process.waits else asked
            process.waits = True
            return self.server.ask(now, asked) + self.pause
        process.waits = False
        begun = self.server.ask(now, asked + self.asked.slice)
        process.sampled = taken
        # Parts are written while the next batches are sampled; a process waits where they take longer.
        return max(begun + self._seconds / process.speed, process.written)

    def _take(self, number: int) -> tuple[int | None, int]:
        """A slice, None where none was found, and how many shards of others were passed."""
        most = most_passed(self.world)
        at = self._with_slices(number) if self.free else number
        passed = (at - number) % self.world if self.free else self.world
        if passed > most or not self.free:
            return None, min(passed, most, self.undone)
        process = self.processes[at]
        process.first += 1
        self.free -= 1
        return process.first - 1, min(passed, self.undone)

    def _with_slices(self, at: int) -> int:
        """The first process from this one on that has slices left."""
        path = []
        while self.processes[at].first == self.processes[at].stop:
            path.append(at)
            at = self.next[at] if self.next[at] != at else (at + 1) % self.world
        for empty in path:
            self.next[empty] = at
        return at

    def _write(self, now: float, process: Process) -> None:
        """The parts of the slice that was sampled, and the commit of its shard where it was the last one."""
        if process.sampled is None:
            return
        shard, operations = process.sampled // self.plan.slices, self._operations - self.asked.slice
        process.sampled = None
        self.left[shard] -= 1
        if not self.left[shard]:
            operations += self.asked.shard + math.ceil(self.plan.shard / self.plan.batch) * self.asked.merged
            self.undone -= 1
        merge = 0.0 if self.left[shard] else self.plan.shard * self.asked.merge
        process.written = self.server.ask(now, operations) + merge
        self.outcome.seconds = max(self.outcome.seconds, process.written)

"""A run on any number of processes, event by event: who takes which slice when, and how long the store makes them wait.

Each process has a range of slices that it begins with, and takes from those of the next ones when its own is done.
While all are in their own ranges nothing depends on the order of events; that part is computed, the rest simulated.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from itertools import pairwise

from fcs.engine.data_module import LONGEST, POLL, POLLS
from fcs.shards.ledger.claims import HEARTBEAT, SLICE
from scale.costs import Costs
from scale.server import Server
from scale.walks import Process, Walks

OWN = 8  # slices of its own range that the fastest process has left when the simulation begins


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        records, shard, batch: of the run, of a shard, of a batch.
        seconds: of a record on one process.
        spread: the processes' speeds differ by at most so much from the mean, as a fraction of it.
        startup: seconds from the command to the first look at the store.
    """

    records: int
    shard: int
    batch: int
    seconds: float
    spread: float = 0.02
    startup: float = 0.0

    @property
    def shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.records / self.shard)

    @property
    def slices(self) -> int:
        """Number of slices in a shard."""
        return math.ceil(self.shard / (SLICE * self.batch))

    @property
    def parts(self) -> int:
        """Number of batches in a shard."""
        return math.ceil(self.shard / self.batch)

    @property
    def slice_seconds(self) -> float:
        """Of a slice on one process."""
        return self.shard / self.slices * self.seconds

    def processes(self, world: int, seed: int = 0) -> list[Process]:
        """So many, with their ranges and speeds."""
        total, random_ = self.shards * self.slices, random.Random(seed)
        bounds = [total * number // world for number in range(world + 1)]
        return [
            Process(number, first, stop, 1 + random_.uniform(-self.spread, self.spread), number)
            for number, (first, stop) in enumerate(pairwise(bounds))
        ]


@dataclass
class Outcome:
    """What a run took.

    Attributes:
        seconds: from the first start to the last commit.
        idle: when the first process found nothing free.
        operations: of all processes together.
        at_work: operations a second while all are in their own ranges.
    """

    seconds: float = 0.0
    idle: float = math.inf
    operations: float = 0.0
    at_work: float = 0.0


def pause(world: int) -> float:
    """Seconds between two looks of a process that waits."""
    return min(LONGEST, max(POLL, world / POLLS))


@dataclass
class Run:
    """The state of a simulated run."""

    plan: Plan
    costs: Costs
    server: Server
    world: int
    seed: int = 0
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self.processes = self.plan.processes(self.world, self.seed)
        self.walks = Walks(self.processes, self.plan.shards, self.costs)
        self.left: dict[int, int] = {}  # slices to do by shard

    def simulate(self) -> Outcome:
        """The run to its end."""
        start, outcome = self.plan.startup, self.outcome
        events = [(self.server.ask(start, self.costs.start), number) for number in range(self.world)]
        self._skip(events)
        heapq.heapify(events)
        while self.walks.undone:
            now, number = events[0]
            heapq.heapreplace(events, (self._step(now, self.processes[number]), number))
        outcome.seconds = max(process.written for process in self.processes)
        outcome.idle = min(outcome.idle, outcome.seconds)
        outcome.operations = self.server.asked + sum(map(self.walks.learned, self.processes))
        return outcome

    @property
    def _written(self) -> float:
        """Operations to write a slice's parts, and for the heartbeats of its claim."""
        plan = self.plan
        return plan.slice_seconds / HEARTBEAT + plan.parts / plan.slices * self.costs.part

    @property
    def _committed(self) -> float:
        """Operations to commit a shard."""
        return self.costs.shard + self.plan.parts * self.costs.merged

    def _skip(self, events: list[tuple[float, int]]) -> None:
        """All processes in their own ranges, until the fastest has few slices left."""
        plan, walks = self.plan, self.walks
        per_slice = self.costs.slice + self._written + self._committed / plan.slices
        seconds = max(plan.slice_seconds, self.world * per_slice / self.server.rate)
        self.outcome.at_work = self.world * per_slice / seconds
        fastest = max(self.processes, key=lambda process: process.speed)
        own = min(process.stop - process.first for process in self.processes)
        until = max(0, own - OWN) / fastest.speed
        for place, (time, number) in enumerate(events):
            process = self.processes[number]
            done = int(until * process.speed)
            process.first += done
            process.known = done // plan.slices
            self.server.asked += done * per_slice
            events[place] = (time + done * seconds / process.speed, number)
            walks.free -= done
        self.server.free = 0.0
        for process in self.processes:
            for number in range(process.first, process.stop):
                self.left[number // plan.slices] = self.left.get(number // plan.slices, 0) + 1
        walks.undone = len(self.left)

    def _step(self, now: float, process: Process) -> float:
        """What a process does next, from ``now`` on; returns when it comes back."""
        self._write(now, process)
        taken, asked = self.walks.take(process)
        if taken is None:
            self.outcome.idle = min(self.outcome.idle, now)
            return self.server.ask(now, asked) + pause(self.world)
        begun = self.server.ask(now, asked + self.costs.slice)
        process.sampled = taken
        # Parts are written while the next batches are sampled; a process waits where they take longer.
        return max(begun + self.plan.slice_seconds / process.speed, process.written)

    def _write(self, now: float, process: Process) -> None:
        """The parts of the slice that was sampled, and the commit of its shard where it was the last one."""
        if process.sampled is None:
            return
        shard, operations, merge = process.sampled // self.plan.slices, self._written, 0.0
        process.sampled = None
        self.left[shard] -= 1
        if not self.left[shard]:
            operations += self._committed
            merge = self.plan.shard * self.costs.merge
            process.known += 1
            self.walks.undone -= 1
        process.written = self.server.ask(now, operations) + merge

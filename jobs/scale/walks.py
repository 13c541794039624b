"""Who takes which slice in a simulated run, and how many operations finding it asks for.

As in ``fcs.shards.ledger.scheduler``: a process goes over the shards from its own place on, and over all of them once
more when it has found something. When it finds nothing, it looks at a few at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from fcs.shards.ledger.commit_manifest import LEAST
from fcs.shards.ledger.commit_tracker import LISTED
from fcs.shards.ledger.shard_order import POLLED_SHARDS, most_passed
from scale.costs import Costs


@dataclass
class Process:
    """One process of a run.

    Attributes:
        number: of the process, and of the range of slices that it begins with.
        first, stop: what is left of that range.
        speed: relative to the mean.
        at: number of the range in which it takes slices.
        found: whether it has taken a slice since its walk began.
        polls: looks at a few shards, in a row, that found nothing; 0 while it walks.
        known: committed shards that it knows of.
        written: when its last results are on the store.
        sampled: the slice whose results are to be written, if there is one.
    """

    number: int
    first: int
    stop: int
    speed: float
    at: int
    found: bool = False
    polls: int = 0
    known: float = 0.0
    written: float = 0.0
    sampled: int | None = None


@dataclass
class Walks:
    """The slices that nobody has taken, and what processes ask for to find them.

    Attributes:
        processes: with their ranges.
        shards: of the run.
        costs: of the ledger.
        undone: shards that are not committed.
        free: slices that nobody has taken.
    """

    processes: Sequence[Process]
    shards: int
    costs: Costs
    undone: int = 0
    free: int = 0
    _next: list[int] = field(default_factory=list)  # to a range with slices, by way of others; itself while it has some

    def __post_init__(self) -> None:
        self.undone, self._next = self.shards, list(range(len(self.processes)))
        self.free = sum(process.stop - process.first for process in self.processes)
        self._most = most_passed(len(self.processes))
        self._each = self.shards / len(self.processes)  # shards of a range

    def take(self, process: Process) -> tuple[int | None, float]:
        """A slice, None where none was found, and the operations that were asked for on the way."""
        asked = 0.0
        while True:
            most = self._most if not process.polls else POLLED_SHARDS
            behind = (process.at - process.number) % len(self.processes)
            reach = most if process.polls else min(most, len(self.processes) - 1 - behind)
            ahead = self._ahead(process.at)
            asked += self._pass(process, min(ahead, reach))
            if self.free and ahead <= reach:
                return self._taken(process, ahead), asked
            again, process.found, process.at = process.found, False, process.number
            if not again:
                process.at = (process.number + process.polls * POLLED_SHARDS) % len(self.processes)
                process.polls += 1
                return None, asked
            process.polls = 0

    def learned(self, process: Process, share: float = 1.0) -> float:
        """Operations until a process knows what others have committed since it looked, in a share of the run."""
        news = (self.shards - self.undone - process.known) * share
        least = max(LEAST, self.shards // LISTED)
        if news < least:
            process.known += news
            return news * self.costs.met
        process.known = self.shards - self.undone
        return least * self.costs.met + self.costs.learn * self.shards

    def _pass(self, process: Process, ranges: int) -> float:
        """Operations to go past ranges in which others have all that is to do."""
        looks = min(ranges, math.ceil(ranges * self._each), self.undone)
        return self.learned(process, ranges / len(self.processes)) + looks * self.costs.look

    def _taken(self, process: Process, ahead: int) -> int:
        process.at = (process.at + ahead) % len(self.processes)
        process.found, process.polls = True, 0
        owner = self.processes[process.at]
        owner.first += 1
        self.free -= 1
        return owner.first - 1

    def _ahead(self, at: int) -> int:
        """How many ranges on, from this one, the first one with free slices is."""
        if not self.free:
            return len(self.processes)
        path, end = [], at
        while self.processes[end].first == self.processes[end].stop:
            path.append(end)
            end = self._next[end] if self._next[end] != end else (end + 1) % len(self.processes)
        for empty in path:
            self._next[empty] = end
        return (end - at) % len(self.processes)

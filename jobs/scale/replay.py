"""The real ledger, as many processes use it, in simulated time: what the simulation is checked against."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack, closing

from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.claims import HEARTBEAT
from fcs.shards.ledger.ledger import Ledger
from scale.ledger_costs import book, rows
from scale.meters import Meter, Reading
from scale.server import Server
from scale.simulation import Outcome, Plan, pause


class Worker:
    """A process of a run, as far as the ledger knows it."""

    def __init__(self, ledger: Ledger, speed: float) -> None:
        self.ledger, self.speed = ledger, speed
        self.item: BatchTask | None = None
        self._walk: Iterator[BatchTask | None] | None = None

    def step(self) -> bool:
        """Finish the batch in hand, and ask for another one; False where the run is complete."""
        if self.item is not None:
            self.ledger.finish(self.item.source, self.item.batch, rows(self.item.wanted, 1))
        if self._walk is None:
            if self.ledger.complete():
                return False
            self._walk = self.ledger.tasks()
        self.item = next(self._walk, None)
        if self.item is None:
            self._walk = None
        return True


def replay(meter: Meter, name: str, plan: Plan, world: int, server: Server) -> Outcome:
    """A run to its end, with the speeds that the simulation gives the processes."""
    store, counts, outcome = meter.store(name), [plan.shard] * plan.shards, Outcome()
    with ExitStack() as stack:
        books = [stack.enter_context(closing(book(store, counts, plan.batch, world, rank))) for rank in range(world)]
        workers = [Worker(one, process.speed) for one, process in zip(books, plan.processes(world), strict=True)]
        events = [(0.0, number) for number in range(world)]
        while events:
            now, number = heapq.heappop(events)
            worker, found = workers[number], list[Reading]()
            writes = worker.item is not None
            with meter.counted(found):
                goes_on = worker.step()
            answered = server.ask(now, found[0].operations)
            if writes:
                outcome.seconds = max(outcome.seconds, answered)
            if worker.item is None:
                outcome.idle = min(outcome.idle, now)
            if goes_on:
                busy = pause(world) if worker.item is None else len(worker.item.wanted) * plan.seconds / worker.speed
                heapq.heappush(events, (answered + busy, number))
    # Those of the heartbeats, which a thread counts in real time.
    outcome.operations = server.asked + plan.records * plan.seconds / HEARTBEAT
    return outcome

"""Reading ahead: batches are decoded in threads while the network computes.

Threads and not processes: the decoders let go of the interpreter's lock, a denoiser takes seconds for what a thread
reads in milliseconds, and there is nothing that a signal could kill separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fcs.core.records import ReadBatch, Record
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.ledger.batch_task import BatchTask


@dataclass(frozen=True)
class ReadAhead:
    """Batches that are decoded ahead of their use; whichever is ready first comes first.

    Whoever runs them may ask for one more before it runs the last, as Lightning does. Where none is ready then, it gets
    a batch without records, so that it runs the one it holds; only after that it waits.

    Attributes:
        tasks: what to read, asked for as late as possible; None while shards must be opened first.
        shards: where from.
        batch_size: slots of a batch.
        workers: threads that decode; 0 decodes when asked.
        check: called while waiting, about once a second; may raise to stop.
    """

    tasks: Iterator[BatchTask | None]
    shards: OpenShards
    batch_size: int
    workers: int
    check: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[ReadBatch]:
        ahead: list[Future[ReadBatch]] = []
        runs = False  # whether the last batch that was yielded has records
        with ThreadPoolExecutor(max(1, self.workers), "read") as pool:
            try:
                while True:
                    ended = self._submit(ahead, pool)
                    ready = next((batch for batch in ahead if batch.done()), None)
                    if ready is not None:
                        ahead.remove(ready)
                        runs = True
                        yield ready.result()
                    elif ended and not ahead:
                        return
                    elif runs:
                        runs = False
                        yield self._empty()
                    else:
                        self.shards.wait(ahead)
                        self.check()
            finally:
                for batch in ahead:
                    batch.cancel()

    def _submit(self, ahead: list[Future[ReadBatch]], pool: ThreadPoolExecutor) -> bool:
        """Have one batch more than there are threads decoded; returns whether there are no more tasks."""
        while len(ahead) <= self.workers:
            try:
                task = next(self.tasks)
            except StopIteration:
                return True
            if task is None:
                return False
            ahead.append(pool.submit(self.read, task) if self.workers else _at_once(self.read, task))
        return False

    def _empty(self) -> ReadBatch:
        return ReadBatch("", 0, (None,) * self.batch_size)

    def read(self, task: BatchTask) -> ReadBatch:
        """One batch; records that are not wanted leave padded slots."""
        first, wanted = task.batch * self.batch_size, set(task.wanted)
        slots = range(first, first + self.batch_size)
        with self.shards.reading(task.source) as reader:
            records = [self._record(reader, index, task.crashed) if index in wanted else None for index in slots]
            return ReadBatch(reader.source.stem, task.batch, tuple(records))

    def _record(self, reader: ShardReader, index: int, crashed: int) -> Record:
        entries = reader.index.entries
        if not crashed or index == len(entries) or entries[index].error:  # nothing is decoded of the last two
            return reader.record(index)
        record = Record(index, entries[index].key)
        return record.failed("crashed", f"the process died {crashed} times while it was sampled")


def _at_once(read: Callable[[BatchTask], ReadBatch], task: BatchTask) -> Future[ReadBatch]:
    """What was read, without a thread."""
    batch: Future[ReadBatch] = Future()
    batch.set_result(read(task))
    return batch

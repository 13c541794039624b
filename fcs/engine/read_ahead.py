"""Reading ahead: batches are decoded in threads while the network computes.

Threads and not processes: the decoders let go of the interpreter's lock, a denoiser takes seconds for what a thread
reads in milliseconds, and there is nothing that a signal could kill separately.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from fcs.core.records import Batch, Record, collate
from fcs.shards.input.decode import Format
from fcs.shards.input.reader import ShardReader
from fcs.shards.input.sources import Source
from fcs.shards.ledger.batch_task import BatchTask


class Readers:
    """The shards that are open, opened on demand; the one not asked for longest is closed first.

    Args:
        sources: the run's shards.
        form: what records must look like.
        most: how many stay open; more than are read at one time.
    """

    def __init__(self, sources: Sequence[Source], form: Format, most: int = 16) -> None:
        self.sources, self.form, self.most = sources, form, most
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, number: int) -> ShardReader:
        """The reader of shard ``number``."""
        with self._lock:
            if number not in self._open:
                self._open[number] = ShardReader(self.sources[number], self.form)
            self._open.move_to_end(number)
            if len(self._open) > self.most:
                self._open.popitem(last=False)[1].close()
            return self._open[number]

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


@dataclass(frozen=True)
class ReadAhead:
    """Batches of the work that is taken, decoded ahead of their use.

    Attributes:
        work: what to read, taken as late as possible. It must not wait for batches that were given out: Lightning
            asks for one more before it runs the last.
        readers: where from.
        batch_size: slots of a batch.
        seed: the run's.
        prompt: for records that have none.
        workers: threads that decode; 0 decodes when asked.
    """

    work: Iterator[BatchTask]
    readers: Readers
    batch_size: int
    seed: int
    prompt: str
    workers: int

    def __iter__(self) -> Iterator[Batch]:
        if self.workers == 0:
            for work in self.work:
                yield self.read(work)
            return
        pool = ThreadPoolExecutor(self.workers, "read")
        ahead: deque[Future[Batch]] = deque()
        try:
            for work in self.work:
                ahead.append(pool.submit(self.read, work))
                if len(ahead) > self.workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, work: BatchTask) -> Batch:
        """One batch; records that are not wanted leave padded slots."""
        reader, first = self.readers[work.source], work.batch * self.batch_size
        wanted = set(work.wanted)
        slots = range(first, first + self.batch_size)
        records = [self._record(reader, index, work.crashed) if index in wanted else None for index in slots]
        form = self.readers.form
        shape = (form.channels, form.height, form.width)
        return collate(reader.source.stem, work.batch, records, shape, self.seed, self.prompt)

    def _record(self, reader: ShardReader, index: int, crashed: int) -> Record:
        entries = reader.index.entries
        if not crashed or index == len(entries) or entries[index].error:  # nothing is decoded of the last two
            return reader.record(index)
        record = Record(index, entries[index].key)
        return record.failed("crashed", f"the process died {crashed} times while it was sampled")

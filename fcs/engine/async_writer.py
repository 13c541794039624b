"""Behind the network: results are scored, encoded and written in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from fcs.core.errors import TooManyFailures
from fcs.core.records import Batch, Result
from fcs.engine.contact_sheet import sheet
from fcs.engine.encode_results import ResultEncoder
from fcs.engine.progress import Log, Progress
from fcs.shards.ledger.layout import PREVIEWS
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store

THREADS = 2
IN_FLIGHT = 4  # batches scored and written behind the network; more would only cost memory
FIRST_RECORDS = 50  # if all of these fail, the run as a whole is wrong


@dataclass
class AsyncWriter:
    """Scores, encodes and writes batches behind the network; what fails there is raised at the next call.

    Attributes:
        outcome: how results become rows.
        finish: writes a batch's rows.
        progress: told of each finished batch.
        max_failed: failed records that the run may have; None stops only when the first 50 all fail.
        failed: failed records of the run before this process.
        previews: where the run's contact sheets go, None for none.
        every: a contact sheet each so many batches; 0 for none.
        most: contact sheets that there may be, whoever made them.
        elsewhere: records that failed in other processes since this one began.
        log: where numbers go as the run goes on; told by the thread that hands batches over.
    """

    outcome: ResultEncoder
    finish: Callable[[Batch, list[Row]], None]
    progress: Progress
    max_failed: int | None = None
    failed: int = 0
    previews: Store | None = None
    every: int = 0
    most: int = 100
    elsewhere: Callable[[], int] = lambda: 0
    log: Log | None = None
    _batches: int = 0
    _done: int = 0
    _own_failed: int = 0
    _pending: list[Future[None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "write")
        self._room = threading.Semaphore(IN_FLIGHT)

    def __call__(self, batch: Batch, result: Result | None) -> None:
        """Hand over a batch and its result, None where all of its records failed.

        Raises:
            TooManyFailures, StorageError: an earlier batch met them.
        """
        self._collect()
        self._room.acquire()
        number, self._batches = self._batches, self._batches + 1
        self._pending.append(self._pool.submit(self._deliver, number, batch, result))

    def flush(self) -> None:
        """Wait until all that was handed over is written, and raise what a batch met."""
        wait(self._pending)
        self._collect()

    def close(self) -> None:
        """Flush, and take no more."""
        self._pool.shutdown(wait=True)
        self._collect()

    def _collect(self) -> None:
        still = [future for future in self._pending if not future.done()]
        ended, self._pending = [future for future in self._pending if future.done()], still
        for future in ended:
            future.result()
        if ended and self.log is not None:
            self.log(self.progress)

    def _deliver(self, number: int, batch: Batch, result: Result | None) -> None:
        try:
            rows = self.outcome.rows(batch, result)
            if self.previews is not None and self.every and number % self.every == 0 and result is not None:
                self._preview(batch, result)
            self.finish(batch, rows)
            self._count(rows)
        finally:
            self._room.release()

    def _preview(self, batch: Batch, result: Result) -> None:
        task = self.outcome.task
        picture = sheet(batch, result, task.given(batch), task.reference(batch))
        if picture is None or self.previews is None:
            return
        name = f"{batch.shard.replace('/', '-')}-{batch.number:05d}.png"
        with self._lock:
            made = [made for made in self.previews.names(PREVIEWS) if made.endswith(".png")]
            if name in made or len(made) < self.most:
                self.previews.replace(f"{PREVIEWS}/{name}", picture)

    def _count(self, rows: list[Row]) -> None:
        failed = sum(row.error is not None for row in rows)
        with self._lock:
            self._done, self._own_failed = self._done + len(rows), self._own_failed + failed
            self.progress.update(len(rows), failed, [row.means for row in rows if row.error is None])
            done, own, total = self._done, self._own_failed, self.failed + self._own_failed
        last = next((row.error for row in reversed(rows) if row.error), "")
        if self.max_failed is not None and failed:
            total += self.elsewhere()
        if self.max_failed is not None and total > self.max_failed:
            raise TooManyFailures(f"{total} records failed, data.max_failed={self.max_failed}; the last: {last}")
        if self.max_failed is None and done == own >= FIRST_RECORDS:
            raise TooManyFailures(f"the first {done} records all failed; the last: {last}")

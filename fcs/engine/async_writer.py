"""Behind the network: results are scored, encoded and written in threads."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from fcs.core.errors import TooManyFailures
from fcs.core.notes import note_lines
from fcs.core.plurals import count_of
from fcs.core.records import Batch, Result
from fcs.engine.contact_sheet import sheet
from fcs.engine.encode_results import ResultEncoder
from fcs.engine.progress import Progress
from fcs.models.base import TRUNCATED
from fcs.shards.ledger.layout import PREVIEWS
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store
from fcs.tasks.base import Task

log = logging.getLogger("fcs")
THREADS = 2
IN_FLIGHT = 2  # batches for each thread, scored and written behind the network; more would only cost memory
LONGEST = 200  # bytes of a shard's name in that of a contact sheet; a character has four at most
FIRST_RECORDS = 50  # if all of these fail, the run as a whole is wrong


@dataclass(frozen=True)
class PreviewWriter:
    """Where contact sheets go, and how many.

    Attributes:
        out: the run's store.
        interval: batches of a process from one contact sheet to the next.
        most: the largest number over the whole run, by all processes.
    """

    out: Store
    interval: int = 1
    most: int = 100

    def write(self, task: Task, batch: Batch, result: Result) -> None:
        """The contact sheet of a batch, unless there are enough; by one thread at a time."""
        # What is given is made where the sampler works: an operator with tensors of its own is moved to its batch.
        picture = sheet(batch, result, task.given(batch).cpu(), task.reference(batch.on_host))
        if picture is None:
            return
        name = f"{_flat(batch.shard)}-{batch.number:05d}.png"
        made = [made for made in self.out.names(PREVIEWS) if made.endswith(".png")]
        if name in made or len(made) < self.most:
            self.out.replace(f"{PREVIEWS}/{name}", picture)


def _flat(stem: str) -> str:
    """A shard's name without folders; the end of one that would be too long for a file's."""
    flat = stem.replace("/", "-")
    return flat if len(os.fsencode(flat)) <= LONGEST else flat[-LONGEST // 4 :]


@dataclass
class AsyncWriter:
    """Scores, encodes and writes batches behind the network; what fails there is raised at the next call.

    Attributes:
        encoder: turns results into rows.
        write: writes a batch's rows; called from threads.
        progress: told of each batch that is written, and ended by ``close``.
        max_failed: failed records that the run may have; None stops only when the first 50 all fail.
        failed_before: failed records of the run before this process.
        failed_elsewhere: says how many records failed in other processes since this one began.
        previews: None for none.
        notes: whether to say at the end what was noted of the records.
        threads: that write; a GPU's records need more of them than a CPU's.
        log: where numbers go as the run goes on; called by the thread that hands batches over.
    """

    encoder: ResultEncoder
    write: Callable[[Batch, list[Row]], None]
    progress: Progress
    max_failed: int | None = None
    failed_before: int = 0
    failed_elsewhere: Callable[[], int] = lambda: 0
    previews: PreviewWriter | None = None
    notes: bool = True
    threads: int = THREADS
    log: Callable[[Progress], None] | None = None
    _batches: int = 0
    _done: int = 0
    _failed: int = 0
    _truncated: int = 0
    _notes: Counter[str] = field(default_factory=Counter)
    _pending: list[Future[None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads, "write")
        self._slots = threading.Semaphore(IN_FLIGHT * self.threads)

    def __call__(self, batch: Batch, result: Result | None) -> None:
        """Hand over a batch and its result, None where all of its records failed.

        Raises:
            TooManyFailures, StorageError: an earlier batch met them.
        """
        self._collect()
        self._slots.acquire()
        number, self._batches = self._batches, self._batches + 1
        self._pending.append(self._pool.submit(self._write, number, batch, result))

    def flush(self) -> None:
        """Wait until all that was handed over is written, and raise what a batch met."""
        wait(self._pending)
        self._collect()

    def close(self) -> None:
        """Flush, take no more, and end the progress."""
        self._pool.shutdown(wait=True)
        try:
            self._collect()
        finally:
            self.progress.close()
            if self.notes:
                self._say_notes()

    def _say_notes(self) -> None:
        if self._truncated:
            log.warning(TRUNCATED, f"{self._truncated} of {self._done} records")
        for line in note_lines(self._notes):
            log.warning("%s", line)

    def _collect(self) -> None:
        still = [future for future in self._pending if not future.done()]
        ended, self._pending = [future for future in self._pending if future.done()], still
        for future in ended:
            future.result()
        if ended and self.log is not None:
            self.log(self.progress)

    def _write(self, number: int, batch: Batch, result: Result | None) -> None:
        try:
            rows = self.encoder.rows(batch.on_host, result)
            if self.previews is not None and number % self.previews.interval == 0 and result is not None:
                with self._lock:
                    self.previews.write(self.encoder.task, batch, result)
            self.write(batch, rows)
            self._count(rows)
        finally:
            self._slots.release()

    def _count(self, rows: list[Row]) -> None:
        failed = sum(row.error is not None for row in rows)
        with self._lock:
            self._done, self._failed = self._done + len(rows), self._failed + failed
            self._truncated += sum(row.truncated or False for row in rows)
            self._notes.update(note for row in rows for note in row.notes)
            self.progress.update(len(rows), failed, [row.means for row in rows if row.error is None])
            done, own, total = self._done, self._failed, self.failed_before + self._failed
        last = next((row.error for row in reversed(rows) if row.error), "")
        if self.max_failed is not None and failed:
            total += self.failed_elsewhere()
        said = f"; the last: {last}" if last else ""  # an earlier start may have failed them all
        if self.max_failed is not None and total > self.max_failed:
            raise TooManyFailures(f"{count_of(total, 'record')} failed, data.max_failed={self.max_failed}{said}")
        if self.max_failed is None and done == own >= FIRST_RECORDS:
            raise TooManyFailures(f"the first {done} records all failed{said}")

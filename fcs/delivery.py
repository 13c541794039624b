"""Behind the network: results are scored, encoded and written in threads."""

from __future__ import annotations

import io
import json
import threading
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.errors import TooManyFailures
from fcs.metrics import pictures as metrics
from fcs.metrics.judge import Features, Judge, Scores, Seen
from fcs.pictures import to_pil
from fcs.previews import sheet
from fcs.progress import Log, Progress
from fcs.records import Batch, Record, Result
from fcs.shards.layout import PREVIEWS
from fcs.shards.parts import Row
from fcs.shards.store import Store
from fcs.tasks.base import Task

THREADS = 2
IN_FLIGHT = 4  # batches scored and written behind the network; more would only cost memory
FIRST_RECORDS = 50  # if all of these fail, the run as a whole is wrong
QUALITY = 95  # of jpg and webp


@dataclass(frozen=True)
class Outcome:
    """What the written pictures look like and say of themselves.

    Attributes:
        task: says what a result is scored against.
        format: ``png``, ``jpg`` or ``webp``.
        copy_inputs: whether input members are written too.
        facts: written into every KEY.json beside the record's own: model, fingerprint.
        judge: makes the scores and features that take networks; None where none was asked for.
    """

    task: Task
    format: str
    copy_inputs: bool
    facts: dict[str, Any]
    judge: Judge | None = None

    def rows(self, batch: Batch, result: Result | None) -> list[Row]:
        """One row for each record of the batch, failed ones too; ``result`` is None if all failed."""
        records = [(slot, record) for slot, record in enumerate(batch.records) if record is not None]
        if result is None:
            return [Row(record.index, record.key, record.error) for _, record in records]
        encoded = self._encode(batch, result)
        written = result.images if self.format == "png" else _decoded(result.images, encoded)
        scores, features = self._judged(batch, result, written)
        rows = []
        for slot, record in records:
            if record.error is not None:
                rows.append(Row(record.index, record.key, record.error))
            elif slot in result.errors:
                rows.append(Row(record.index, record.key, result.errors[slot]))
            elif not result.finite[slot]:
                rows.append(Row(record.index, record.key, "not_finite: the model gave NaN or infinity"))
            else:
                row = self._row(batch, result, slot, record, encoded[slot], scores[slot])
                rows.append(replace(row, features=features[slot]))
        return rows

    def _judged(self, batch: Batch, result: Result, written: Tensor) -> tuple[list[Scores], list[Features]]:
        """Scores and features of each slot."""
        reference = self.task.reference(batch)
        masks = batch.masks.cpu() if self.task.needs_mask else None
        kinds = [metrics.scores(written, None if reference is None else reference.cpu(), masks)]
        features: list[Features] = [{} for _ in kinds[0]]
        if self.judge is not None:
            styles = self.task.styles(batch)
            further, features = self.judge(Seen(written, reference, batch.prompts, styles, batch.masks))
            kinds.append(further)
        kinds += [list(result.scores)] if result.scores else []
        scores = [dict(ChainMap(*reversed(slot))) for slot in zip(*kinds, strict=True)]
        return scores, features

    def _encode(self, batch: Batch, result: Result) -> dict[int, bytes]:
        return {slot: encode(result.images[slot], self.format) for slot, valid in enumerate(batch.valid) if valid}

    def _row(
        self,
        batch: Batch,
        result: Result,
        slot: int,
        record: Record,
        picture: bytes,
        scores: dict[str, float | None],
    ) -> Row:
        own = {"seed": batch.seeds[slot], "nfe": result.calls[slot], "residual": result.residuals[slot]}
        facts = {"fcs": {**own, "scores": scores, **self.facts}, "input": record.extra}
        # A lone surrogate in the record's own JSON goes out as it came in: that is its escape in JSON too.
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False).encode(errors="backslashreplace")
        members = [(f"{record.key}.{self.format}", picture), (f"{record.key}.json", text)]
        members += [(f"{record.key}.{name}.png", encode(made[slot], "png")) for name, made in result.further.items()]
        if self.copy_inputs:
            members += [(f"{record.key}.input.{suffix}", data) for suffix, data in sorted(record.members.items())]
        return Row(
            record.index,
            record.key,
            seed=batch.seeds[slot],
            nfe=result.calls[slot],
            seconds=result.seconds,
            residual=result.residuals[slot],
            memory=result.memory,
            course=result.courses[slot] if result.courses else (),
            scores=scores,
            members=tuple(members),
        )


def encode(picture: Tensor, form: str) -> bytes:
    """A file of one ``(C, H, W)`` uint8 picture."""
    image = to_pil(picture)
    buffer = io.BytesIO()
    if form == "png":
        image.save(buffer, "png")
    else:
        image.save(buffer, "jpeg" if form == "jpg" else form, quality=QUALITY)
    return buffer.getvalue()


def _decoded(images: Tensor, encoded: dict[int, bytes]) -> Tensor:
    """The pictures as a reader will see them after a lossy format."""
    seen = images.clone()
    for slot, data in encoded.items():
        mode = "L" if images.shape[1] == 1 else "RGB"
        array = np.array(Image.open(io.BytesIO(data)).convert(mode))
        seen[slot] = torch.from_numpy(array).reshape(*images.shape[2:], -1).permute(2, 0, 1)
    return seen


@dataclass
class Delivery:
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

    outcome: Outcome
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

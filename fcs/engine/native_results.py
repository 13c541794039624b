"""From the results of crops to the pictures that they were cut out of, and to whole batches of rows."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from fcs.core.native_picture import Blend
from fcs.core.records import Batch, Record, Result
from fcs.engine.encode_results import NOT_FINITE, ResultEncoder, decoded, encode_image, failed_row
from fcs.metrics.native_scores import native_scores
from fcs.shards.input.decode_image import BadRecordError
from fcs.shards.ledger.result_rows import Row


@dataclass(frozen=True)
class MadeCrop:
    """What became of one crop.

    Attributes:
        number: which of its record's.
        picture: uint8 ``(C, H, W)`` at the model's size.
        error: ``code: detail``, or None.
        seed, calls, residual, seconds, memory, redone, truncated, course: as in a row.
    """

    number: int
    picture: Tensor
    error: str | None
    seed: int
    calls: int
    residual: float
    seconds: float
    memory: int | None
    redone: bool
    truncated: bool
    course: tuple[float, ...]

    @classmethod
    def of(cls, batch: Batch, result: Result, slot: int) -> MadeCrop:
        """The crop in a slot of a batch."""
        record = batch.records[slot]
        assert record is not None
        return cls(
            record.crop,
            result.images[slot].clone(),  # else it would keep the whole batch
            result.errors.get(slot) or (None if result.finite[slot] else NOT_FINITE),
            batch.seeds[slot],
            result.calls[slot],
            result.residuals[slot],
            result.seconds,
            result.memory,
            slot in result.redone,
            slot in result.truncated,
            result.residual_traces[slot] if result.residual_traces else (),
        )


@dataclass
class Crops:
    """Collects the crops of records; may be told of them by several threads, in any order."""

    _held: dict[tuple[str, int], list[MadeCrop]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, batch: Batch, result: Result, slot: int) -> list[MadeCrop] | None:
        """All crops of a slot's record in their order, if this is the last one; none where it has none."""
        record = batch.records[slot]
        assert record is not None
        assert record.native is not None
        made, key = MadeCrop.of(batch, result, slot), (batch.shard, record.index)
        with self._lock:
            self._held[key].append(made)
            if len(self._held[key]) < len(record.native.crops):
                return None
            return sorted(self._held.pop(key), key=lambda crop: crop.number)


@dataclass(frozen=True)
class NativeEncoder(ResultEncoder):
    """Turns crops into one row for each record, as soon as its last crop is made.

    Attributes:
        blend: puts a crop into its picture.
    """

    blend: Blend = field(kw_only=True)
    crops: Crops = field(default_factory=Crops)

    def rows(self, batch: Batch, result: Result | None) -> list[Row]:
        """Rows of the records that failed, and of those that this batch completes."""
        found = []
        for slot, record in enumerate(batch.records):
            if record is None:
                continue
            if record.error is not None or result is None:
                found.append(failed_row(batch, slot, record, record.error))
                continue
            made = self.crops.add(batch, result, slot)
            if made is not None:
                scored = self.task.reference(batch) is not None
                found.append(self._joined(record, made, scored, batch.prompts[slot]))
        return found

    def _joined(self, record: Record, made: Sequence[MadeCrop], scored: bool, prompt: str) -> Row:
        row, native = joined_row(record, made), record.native
        if row.error is not None or native is None:
            return row
        try:
            pictures = [crop.picture for crop in made[: len(native.crops)]]
            completed = native.completed(native.read(), pictures, self.blend)
            data = encode_image(completed.picture, self.format, self.png_level)
            exact = self.format == "png"
            shown = completed.picture if exact else decoded(data, completed.picture.mode)
            scores = native_scores(shown, completed, native, exact, scored)
        except (MemoryError, BadRecordError) as error:  # decoding it again is all that the latter can mean
            return Row(record.index, record.key, f"out_of_memory: the whole picture ({error})", seed=row.seed)
        return self.described(row, record, data, scores, prompt)


def joined_row(record: Record, made: Sequence[MadeCrop]) -> Row:
    """What the row of a record says of all of its crops together: calls and seconds added, residuals as one rms."""
    seed = made[0].seed
    error = next((crop.error for crop in made if crop.error), None)
    if error is not None:
        return Row(record.index, record.key, error, seed=seed)
    courses = [crop.course for crop in made if crop.course]
    memories = [crop.memory for crop in made if crop.memory is not None]
    return Row(
        record.index,
        record.key,
        seed=seed,
        nfe=sum(crop.calls for crop in made),
        seconds=sum(crop.seconds for crop in made),
        residual=_rms([crop.residual for crop in made]),
        memory=max(memories, default=None),
        course=tuple(map(_rms, zip(*courses, strict=True))) if len(courses) == len(made) else (),
        redone=any(crop.redone for crop in made),
        truncated=any(crop.truncated for crop in made),
        nothing_to_generate=record.native is not None and not record.native.crops,
    )


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(math.fsum(value**2 for value in values) / len(values))


@dataclass
class RowJoiner:
    """Hands on the rows of each batch as it was read, once it has them all; may be called by several threads.

    Attributes:
        finish: told of a whole batch: its shard, its number, its rows.
        size: records of a batch.
    """

    finish: Callable[[str, int, list[Row]], None]
    size: int
    _held: dict[tuple[str, int], list[Row]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, batch: Batch, rows: list[Row]) -> None:
        """Take the rows that a batch completed."""
        if not batch.members:
            self.finish(batch.shard, batch.number, rows)
            return
        done = []
        with self._lock:
            for row in rows:
                self._held[batch.shard, row.index // self.size].append(row)
            for number, count in batch.members.items():
                if len(self._held.get((batch.shard, number), ())) == count:
                    done.append((number, self._held.pop((batch.shard, number))))
        for number, whole in done:
            self.finish(batch.shard, number, whole)

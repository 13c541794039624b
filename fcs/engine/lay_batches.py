"""From records that were read to the batches that are sampled, all of one number of slots.

Mostly a batch is sampled as it was read. Where records have several samples, or samples have several sizes, those of up
to ``PENDING`` batches are laid together, size by size. What a record's result is does not depend on it: a batch's shape
is the same whatever it holds, and a slot's place in it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fcs.core.collate import collate
from fcs.core.records import Batch, ReadBatch, Record

PENDING = 8  # batches of which samples may be waiting for others of their size; a slice has as many
Shape = tuple[int, int, int]
Place = tuple[str, Shape]


@dataclass(frozen=True)
class Layout:
    """How records become batches.

    Attributes:
        slots: of a batch.
        shape: ``(C, H, W)`` of a picture, where samples do not have their own.
        seed: the run's.
        prompt: for records that have none.
        grouped: whether samples of several batches are laid together.
    """

    slots: int
    shape: Shape
    seed: int
    prompt: str = ""
    grouped: bool = False

    @property
    def empty(self) -> Batch:
        """A batch without records."""
        return self.batch("", 0, [])

    def batch(self, shard: str, number: int, records: Iterable[Record | None], **more: dict[int, int]) -> Batch:
        """At most ``slots`` records as a batch; ``members`` as in ``Batch``."""
        found = list(records)
        shape = next((tuple(one.image.shape) for one in found if one is not None and one.image is not None), self.shape)
        slots = [*found, *[None] * (self.slots - len(found))]
        return collate(shard, number, slots, shape, self.seed, self.prompt, **more)  # type: ignore[arg-type]

    def __call__(self, read: Iterable[ReadBatch]) -> Iterator[Batch]:
        """The batches to sample, in about the order of what is read. One without records is handed on as it comes."""
        if self.grouped:
            yield from _Grouping(self).batches(read)
        else:
            yield from (self.batch(one.shard, one.number, one.records) for one in read)


@dataclass
class _Grouping:
    """Samples that wait for others of their size and shard."""

    layout: Layout
    waiting: dict[Place, list[tuple[int, Record]]] = field(default_factory=dict)
    counts: dict[tuple[str, int], int] = field(default_factory=dict)  # records of each batch that has some waiting

    def batches(self, read: Iterable[ReadBatch]) -> Iterator[Batch]:
        for one in read:
            records = [record for record in one.records if record is not None]
            if not records:
                yield self.layout.empty
                continue
            self.counts[one.shard, one.number] = len(records)
            yield from self._add(one.shard, one.number, records)
            while len(self.counts) > PENDING:
                oldest = next(iter(self.counts))
                yield from self._flush([place for place in self.waiting if self._holds(place, oldest)])
        yield from self._flush(list(self.waiting))

    def _add(self, shard: str, number: int, records: list[Record]) -> Iterator[Batch]:
        # What has nothing to sample would only take slots from others.
        idle = [(number, record) for record in records if record.error is not None or not record.samples]
        if idle:
            yield self._batch(shard, idle)
        for record in records:
            for sample in record.samples if record.error is None else ():
                assert sample.image is not None
                height, width = sample.image.shape[1:]
                queue = self.waiting.setdefault((shard, (sample.image.shape[0], height, width)), [])
                queue.append((number, sample))
                if len(queue) == self.layout.slots:
                    yield self._batch(shard, self.waiting.pop((shard, (sample.image.shape[0], height, width))))
        self._forget()

    def _flush(self, places: list[Place]) -> Iterator[Batch]:
        for place in places:
            yield self._batch(place[0], self.waiting.pop(place))
        self._forget()

    def _batch(self, shard: str, samples: list[tuple[int, Record]]) -> Batch:
        members = {number: self.counts[shard, number] for number, _ in samples}
        return self.layout.batch(shard, samples[0][0], (sample for _, sample in samples), members=members)

    def _holds(self, place: Place, batch: tuple[str, int]) -> bool:
        return place[0] == batch[0] and any(number == batch[1] for number, _ in self.waiting[place])

    def _forget(self) -> None:
        """Drop the counts of batches of which nothing waits any more."""
        held = {(shard, number) for (shard, _), queue in self.waiting.items() for number, _ in queue}
        self.counts = {batch: count for batch, count in self.counts.items() if batch in held}

"""How many records each shard has, of those that belong to the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from fcs.shards.input.sources import Source, listed_sizes
from fcs.shards.ledger.commit_records import read_commit
from fcs.shards.store.base import Store


class ShardSizes:
    """Records by shard. Nothing here waits for a shard to be opened.

    What counts is the shard itself, or its commit record; ``sizes.json`` may be wrong, so it only says whether opening
    a shard is worth while.

    Attributes:
        known: those that were asked for, by number of the shard.
    """

    def __init__(
        self, out: Store, sources: Sequence[Source], rows: Callable[[int], int | None], limit: int | None = None
    ) -> None:
        """Args: ``rows`` of shard number i, None while it is being opened; ``limit``, the first N records."""
        self.out, self.sources, self.limit = out, sources, limit
        self.known: dict[int, int] = {}
        self._rows = rows
        self._learned: Mapping[str, int] = {}
        self._uncommitted: set[int] = set()  # when they were first asked for

    def learn(self, committed: Mapping[str, int]) -> None:
        """Take over the sizes of shards whose commit records were read, by STEM."""
        self._learned = committed

    def of(self, number: int, left: int | None = None) -> int | None:
        """Records of a shard that belong to the run; None while it is being opened, which this begins.

        Args:
            number: of the shard.
            left: of the limit for this shard and those after it.
        """
        if number not in self.known:
            size = self._committed(number)
            size = self._rows(number) if size is None else size
            if size is None:
                return None
            self.known[number] = size if left is None else min(size, left)
        return self.known[number]

    def listed(self, number: int) -> int | None:
        """Records of a shard as ``sizes.json`` has it; None where it does not say."""
        return self._listed[number]

    def active(self) -> list[int] | None:
        """Shards with records of the run. With a limit that needs the sizes of those before, and is None till then."""
        if self.limit is None:
            return list(range(len(self.sources)))
        left, active = self.limit, []
        for number in range(len(self.sources)):
            if left <= 0:
                break
            size = self.of(number, left)
            if size is None:
                return None
            active.append(number)
            left -= size
        return active

    def span(self, number: int, batch: int, size: int) -> tuple[int, int]:
        """First record of a batch of ``size`` slots and the one after its last; the shard's own size is known."""
        return batch * size, min((batch + 1) * size, self.known[number])

    def _committed(self, number: int) -> int | None:
        if number in self._uncommitted:  # asked again and again while the shard is being opened
            return None
        stem = self.sources[number].stem
        if stem in self._learned:
            return self._learned[stem]
        record = read_commit(self.out, stem)
        if record is None:
            self._uncommitted.add(number)
            return None
        return int(record["counts"]["records"])

    @cached_property
    def _listed(self) -> list[int | None]:
        return listed_sizes(self.sources)

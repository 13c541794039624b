"""How many records each shard has, of those that belong to the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fcs.shards.input.sources import Source
from fcs.shards.ledger.commit_records import committed
from fcs.shards.store.base import Store


class ShardSizes:
    """Records by shard; each shard is opened at most once, and only when it is asked for.

    Attributes:
        known: those that were asked for, by number of the shard.
    """

    def __init__(
        self, out: Store, sources: Sequence[Source], length: Callable[[int], int], limit: int | None = None
    ) -> None:
        """Args: ``length``, rows of shard number i; ``limit``, the first N records over the list."""
        self.out, self.sources, self.limit = out, sources, limit
        self.known: dict[int, int] = {}
        self._length = length

    def of(self, number: int, left: int | None = None) -> int:
        """Records of a shard that belong to the run; ``left`` of the limit remain for it."""
        if number not in self.known:
            record = committed(self.out, self.sources[number].stem)
            size = self._length(number) if record is None else int(record["counts"]["records"])
            self.known[number] = size if left is None else min(size, left)
        return self.known[number]

    def active(self) -> list[int]:
        """Shards with records of the run; with a limit that needs the counts of those before."""
        if self.limit is None:
            return list(range(len(self.sources)))
        left, active = self.limit, []
        for number in range(len(self.sources)):
            if left <= 0:
                break
            active.append(number)
            left -= self.of(number, left)
        return active

    def span(self, number: int, batch: int, size: int) -> tuple[int, int]:
        """First record of a batch of ``size`` slots and the one after its last; the shard was counted before."""
        return batch * size, min((batch + 1) * size, self.known[number])

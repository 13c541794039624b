"""What this process has in hand: slices that it claimed, and batches of them that are not on disk yet."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress

from fcs.shards.input.sources import Source
from fcs.shards.ledger.claims import SLICE, Claims
from fcs.shards.ledger.crash_markers import CrashMarker
from fcs.shards.ledger.layout import claims_folder
from fcs.shards.store.base import Store


class Leases:
    """Slices and batches by number; may be used by several threads.

    Attributes:
        closed: nothing more is given out.
    """

    def __init__(self, out: Store, sources: Sequence[Source], claims: Claims) -> None:
        self.out, self.sources, self.claims = out, sources, claims
        self.closed = False
        self._slices: dict[tuple[int, int], set[int]] = {}  # with the batches that are not on disk yet
        self._marks: dict[tuple[int, int], str] = {}  # by shard and batch, of those that were given out
        self._alone: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def empty(self) -> bool:
        """Whether nothing is in hand."""
        with self._lock:
            return not self._slices

    @property
    def alone(self) -> bool:
        """Whether a record is in hand that nothing else may be in hand with."""
        return self._alone in self._marks

    def free(self, number: int, piece: int) -> bool:
        """Whether nobody holds a slice, as it seems; ``take`` finds out."""
        return self.claims.is_free(self.sources[number].stem, _name(piece))

    def take(self, number: int, piece: int) -> bool:
        """Claim a slice; False where it is in hand already, here or elsewhere. It must be held, or put down, then."""
        with self._lock:
            ours = (number, piece) in self._slices
        return not ours and self.claims.take(self.sources[number].stem, _name(piece))

    def hold(self, number: int, piece: int, batches: Collection[int]) -> None:
        """Have these batches of a slice in hand."""
        with self._lock:
            self._slices[number, piece] = set(batches)

    def mark(self, number: int, batch: int, records: Sequence[int], alone: bool = False) -> None:
        """Say of a batch, just before it is given out, that a death from now on is one with it.

        Args:
            number, batch: the shard and its batch, which is held.
            records: of the batch, in order, that are to be done.
            alone: it is one record, and nothing else is in hand.

        Raises:
            StorageError: OUT cannot be written.
        """
        mark = CrashMarker(records[0], records[-1], alone, str(self.claims.me["id"]))
        name = f"{claims_folder(self.sources[number].stem)}/{mark.name}"
        self._marks[number, batch] = name
        self._alone = (number, batch) if alone else None
        with suppress(FileNotFoundError):  # the shard was committed and its folder removed
            self.out.create(name, json.dumps(self.claims.me).encode(), durable=False)

    def put_down(self, number: int, *batches: int, piece: int | None = None) -> None:
        """Batches are not in hand any more; a slice without any is given back."""
        piece = batches[0] // SLICE if piece is None else piece
        try:
            self._clear(*((number, batch) for batch in batches))
        finally:
            with self._lock:
                held = self._slices.get((number, piece))
                if held is not None:
                    held.difference_update(batches)
                    if not held:
                        del self._slices[number, piece]
                        self.claims.release(self.sources[number].stem, _name(piece))

    def close(self) -> None:
        """Give everything back: this process did not die with it."""
        self.closed = True
        try:
            self._clear(*list(self._marks))
        finally:
            self.claims.close()

    def _clear(self, *batches: tuple[int, int]) -> None:
        """Remove marks. Before the claim: who takes the slice next would see deaths in them."""
        names = (self._marks.pop(batch, None) for batch in batches)
        self.out.delete(*(name for name in names if name is not None))


def _name(piece: int) -> str:
    return f"{piece:06d}"

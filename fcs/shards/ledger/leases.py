"""Leases: the slices that this process has claimed, and the batches of them whose results are not written yet."""

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
    """Slices and batches by number. May be used by several threads.

    Attributes:
        closed: nothing more can be acquired.
    """

    def __init__(self, out: Store, sources: Sequence[Source], claims: Claims) -> None:
        self.out, self.sources, self.claims = out, sources, claims
        self.closed = False
        self._slices: dict[tuple[int, int], set[int]] = {}  # to the batches that are not on disk yet
        self._markers: dict[tuple[int, int], str] = {}  # crash markers by shard and batch
        self._alone: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def empty(self) -> bool:
        """Whether nothing is leased."""
        with self._lock:
            return not self._slices

    @property
    def alone(self) -> bool:
        """Whether a record is leased beside which nothing else may be."""
        return self._alone in self._markers

    def is_free(self, number: int, slice_number: int) -> bool:
        """Whether nobody seems to have a slice; only ``acquire`` makes sure."""
        return self.claims.is_free(self.sources[number].stem, slice_name(slice_number))

    def acquire(self, number: int, slice_number: int) -> bool:
        """Claim a slice; False where this process or another has it. ``hold`` or ``release`` must follow."""
        with self._lock:
            ours = (number, slice_number) in self._slices
        return not ours and self.claims.acquire(self.sources[number].stem, slice_name(slice_number))

    def hold(self, number: int, slice_number: int, batches: Collection[int]) -> None:
        """Say which batches of an acquired slice are to be done."""
        with self._lock:
            self._slices[number, slice_number] = set(batches)

    def mark(self, number: int, batch: int, records: Sequence[int], alone: bool = False) -> None:
        """Write the crash marker of a batch that is held, just before it is handed out.

        Args:
            number, batch: the shard and its batch.
            records: of the batch, in order, that are to be done.
            alone: it is one record, and nothing else is leased.

        Raises:
            StorageError: OUT cannot be written.
        """
        marker = CrashMarker(records[0], records[-1], alone, str(self.claims.me["id"]))
        name = f"{claims_folder(self.sources[number].stem)}/{marker.name}"
        self._markers[number, batch] = name
        self._alone = (number, batch) if alone else None
        with suppress(FileNotFoundError):  # the shard was committed and its folder removed
            self.out.create(name, json.dumps(self.claims.me).encode(), durable=False)

    def release(self, number: int, *batches: int, slice_number: int | None = None) -> None:
        """Give batches back, done or not; a slice of which none is left is given back too."""
        slice_number = batches[0] // SLICE if slice_number is None else slice_number
        try:
            self._delete_markers(*((number, batch) for batch in batches))
        finally:
            with self._lock:
                held = self._slices.get((number, slice_number))
                if held is not None:
                    held.difference_update(batches)
                    if not held:
                        del self._slices[number, slice_number]
                        self.claims.release(self.sources[number].stem, slice_name(slice_number))

    def close(self) -> None:
        """Give everything back: this process has not crashed."""
        self.closed = True
        try:
            self._delete_markers(*list(self._markers))
        finally:
            self.claims.close()

    def _delete_markers(self, *batches: tuple[int, int]) -> None:
        """Before the claim is released: whoever claims the slice next would take them for crashes."""
        names = (self._markers.pop(batch, None) for batch in batches)
        self.out.delete(*(name for name in names if name is not None))


def slice_name(slice_number: int) -> str:
    """Of its claim, in the claims folder of the shard."""
    return f"{slice_number:06d}"

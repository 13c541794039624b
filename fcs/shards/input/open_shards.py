"""The shards of a run that are open: opened in threads, shared by all that read them, a bounded number at a time."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source

log = logging.getLogger("fcs.shards")

OPENERS = 2  # shards that are opened at the same time before anybody reads them


@dataclass
class _Shard:
    """A shard that is open, or that one thread is opening; ``users`` threads read it or wait for it."""

    reader: Future[ShardReader] = field(default_factory=Future)
    users: int = 0


class OpenShards:
    """Readers by the number of the shard. May be used by several threads.

    Opening a remote or compressed shard copies it, which may take minutes. Whoever needs it waits for that copy only:
    other shards can be opened and read meanwhile, and a shard is never copied twice at the same time. Beyond ``most``
    the shard that was used longest ago is closed, never one that a thread is reading.

    Args:
        sources: the run's shards.
        form: what records must look like.
        most: how many stay open.
    """

    def __init__(self, sources: Sequence[Source], form: Format, most: int = 16) -> None:
        self.sources, self.form, self.most = sources, form, most
        self._shards: OrderedDict[int, _Shard] = OrderedDict()  # last used last
        self._rows: dict[int, int] = {}  # of every shard that was ever open
        self._opening: dict[int, Future[None]] = {}
        self._openers = ThreadPoolExecutor(OPENERS, "open")
        self._closing = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, number: int) -> Iterator[ShardReader]:
        """The reader of a shard, opened here if it is not open; it stays open until the block ends.

        Raises:
            StorageError: the shard cannot be read.
        """
        shard, new = self._enter(number)
        try:
            if new:
                self._open(number, shard)
            yield shard.reader.result()
        finally:
            for reader in self._leave(shard):
                reader.close()

    def rows(self, number: int) -> int | None:
        """Rows of a shard. None where it was not open yet: a thread opens it, ask again later.

        Raises:
            StorageError: the shard cannot be read.
        """
        with self._lock:
            if number in self._rows:
                return self._rows[number]
            opening = self._opening.get(number)
            if opening is None:
                self._opening[number] = self._openers.submit(self._open_ahead, number)
                return None
        if opening.done():
            opening.result()  # raises what stopped it
        return None

    def opening(self) -> list[Future[None]]:
        """The shards that ``rows`` was asked of and that are not open yet; each is done when its shard is open."""
        with self._lock:
            return [future for future in self._opening.values() if not future.done()]

    def wait(self, others: Sequence[Future[Any]] = (), seconds: float = 1.0) -> None:
        """Wait until one of the shards that are being opened is open or one of the others is done, or so long."""
        wait([*others, *self.opening()], seconds, FIRST_COMPLETED)

    def close(self) -> None:
        """Close all shards; what is being copied is given up. Nobody may be reading any more."""
        self._closing.set()
        self._openers.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            shards = [self._shards.popitem()[1] for _ in range(len(self._shards))]
        for shard in shards:
            shard.reader.result().close()

    def _open_ahead(self, number: int) -> None:
        with self.reading(number):
            pass

    def _enter(self, number: int) -> tuple[_Shard, bool]:
        """The shard with one more user, and whether it is for the caller to open it."""
        with self._lock:
            new = number not in self._shards
            if new:
                self._shards[number] = _Shard()
            shard = self._shards[number]
            shard.users += 1
            self._shards.move_to_end(number)
            return shard, new

    def _open(self, number: int, shard: _Shard) -> None:
        try:
            reader = ShardReader(self.sources[number], self.form, cancelled=self._closing.is_set)
        except BaseException as error:
            with self._lock:
                del self._shards[number]
            shard.reader.set_exception(error)
        else:
            with self._lock:
                new = number not in self._rows
                self._rows[number] = len(reader)
            for remark in reader.index.remarks if new else ():
                log.warning("%s: %s", self.sources[number].url, remark)
            shard.reader.set_result(reader)

    def _leave(self, shard: _Shard) -> list[ShardReader]:
        """One user less; returns readers that nobody uses and that are too many."""
        with self._lock:
            shard.users -= 1
            unused = [number for number, one in self._shards.items() if not one.users]
            surplus = unused[: max(0, len(self._shards) - self.most)]
            return [self._shards.pop(number).reader.result() for number in surplus]

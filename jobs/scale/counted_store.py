"""A store that counts what it is asked for, and may answer as late as a far one would."""

# ruff: noqa: D102  # an override is documented where it is declared

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader
from typing import BinaryIO

from fcs.shards.store.base import Stat, Store

LISTED = 1000  # names in one answer of an object store


class CountedStore(Store):
    """Hands everything on to another store. May be used by several threads.

    An operation is one call; a listing is one for each 1000 names, a removal one for each file.

    Args:
        inner: the store that does the work.
        waits: seconds that an operation of this name takes besides; those that are not named take ``""``'s, or none.

    Attributes:
        asked: operations by name.
    """

    def __init__(self, inner: Store, waits: Mapping[str, float] | None = None) -> None:
        self.inner, self.waits = inner, dict(waits or {})
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def operations(self) -> int:
        """All that were asked for."""
        return self.asked.total()

    def _ask(self, name: str, count: int = 1) -> None:
        with self._lock:
            self.asked[name] += count
        wait = self.waits.get(name, self.waits.get("", 0.0)) * count
        if wait:
            time.sleep(wait)

    @property
    def exclusive(self) -> bool:  # type: ignore[override]
        """As the other store's."""
        return self.inner.exclusive

    def where(self, name: str = "") -> str:
        return self.inner.where(name)

    def read(self, name: str, listed: Stat | None = None) -> bytes:
        self._ask("read")
        return self.inner.read(name, listed)

    @contextmanager
    def reading(self, name: str) -> Iterator[BufferedReader]:
        self._ask("read")
        with self.inner.reading(name) as file:
            yield file

    def stat(self, name: str) -> Stat | None:
        self._ask("stat")
        return self.inner.stat(name)

    def names(self, folder: str) -> list[str]:
        found = self.inner.names(folder)
        self._ask("list", -(-max(1, len(found)) // LISTED))
        return found

    def tree(self, top: str) -> dict[str, Stat]:
        found = self.inner.tree(top)
        self._ask("list", -(-max(1, len(found)) // LISTED))
        return found

    def below(self, top: str) -> list[str]:
        found = self.inner.below(top)
        self._ask("list", -(-max(1, len(found)) // LISTED))
        return found

    def create(self, name: str, data: bytes, durable: bool = True) -> bool:
        self._ask("create" if durable else "mark")
        return self.inner.create(name, data, durable)

    def replace(self, name: str, data: bytes) -> None:
        self._ask("replace")
        self.inner.replace(name, data)

    def replacing(self, name: str) -> AbstractContextManager[BinaryIO]:
        self._ask("replace")
        return self.inner.replacing(name)

    def move(self, old: str, new: str) -> bool:
        self._ask("move")
        return self.inner.move(old, new)

    def delete(self, *names: str) -> None:
        self._ask("delete", len(names))
        self.inner.delete(*names)

    def touch(self, name: str, data: bytes) -> None:
        self._ask("touch")
        self.inner.touch(name, data)

    def now(self, beside: str) -> float:
        self._ask("now")
        return self.inner.now(beside)

    def probe(self, name: str) -> None:
        self._ask("probe")
        self.inner.probe(name)

    def sweep(self, *names: str) -> None:
        self._ask("sweep", len(names))
        self.inner.sweep(*names)

    def prune(self, folder: str) -> None:
        self._ask("prune")
        self.inner.prune(folder)

    def prune_below(self, top: str) -> None:
        self._ask("prune")
        self.inner.prune_below(top)

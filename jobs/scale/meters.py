"""Counts and times what a piece of code asks of a store: operations of a file server, calls of an object store."""

# ruff: noqa: D102  # an override is documented where it is declared

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore
from fcs.shards.store.open_store import open_store
from scale.counted_store import CountedStore

EVENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir", "os.utime"}


class Reading(NamedTuple):
    """What a block of code took: operations and seconds."""

    operations: int
    seconds: float


class Meter(ABC):
    """Makes stores and counts what they are asked for, inside ``counted`` only."""

    @abstractmethod
    def store(self, name: str) -> Store:
        """An empty store."""

    @abstractmethod
    def _count(self) -> int:
        """Operations until now."""

    @contextmanager
    def counted(self, found: list[Reading]) -> Iterator[None]:
        """Append what a block takes."""
        before, began = self._count(), time.monotonic()
        yield
        found.append(Reading(self._count() - before, time.monotonic() - began))


class FileMeter(Meter):
    """Folders below a root. An operation is one that a file server is asked for.

    Opening, listing, linking, removing and the like are counted by Python's audit events, sizes by os.stat; that data
    is written and made durable is not.

    Args:
        root: a folder of its own.
        wait: seconds that each operation takes besides, as on a server that is far away.
    """

    def __init__(self, root: Path, wait: float = 0.0) -> None:
        self.root, self.wait, self._operations, self._on = root, wait, 0, False
        sys.addaudithook(self._hear)  # for good, but only heard while counting

    def store(self, name: str) -> Store:
        return LocalStore(self.root / name)

    def _count(self) -> int:
        return self._operations

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if self._on and event in EVENTS and given:
            self._add(given[0])

    def _add(self, path: object) -> None:
        if str(path).startswith(str(self.root)):
            self._operations += 1
            if self.wait:
                time.sleep(self.wait)

    @contextmanager
    def counted(self, found: list[Reading]) -> Iterator[None]:
        stat = os.stat

        def counting(path: Any, *rest: Any, **options: Any) -> os.stat_result:
            self._add(path)
            return stat(path, *rest, **options)

        os.stat, self._on = counting, True
        try:
            with super().counted(found):
                yield
        finally:
            os.stat, self._on = stat, False


class CallMeter(Meter):
    """Stores of another kind; an operation is a call, a listing one for each 1000 names."""

    def __init__(self, opened: Callable[[str], Store]) -> None:
        """Args: ``opened``, makes the store of a name."""
        self.opened = opened
        self._stores: list[CountedStore] = []

    def store(self, name: str) -> Store:
        made = CountedStore(self.opened(name))
        self._stores.append(made)
        return made

    def _count(self) -> int:
        return sum(store.operations for store in self._stores)


def file_meter(root: Path, wait: float = 0.0) -> Meter:
    """A new folder of this machine's, or one as far away as ``wait`` says (seconds an operation)."""
    root.mkdir(parents=True)
    return FileMeter(root, wait)


def object_meter(bucket: str) -> Meter:
    """What is below a URL of an object store."""
    return CallMeter(lambda name: open_store(f"{bucket}/{name}"))

"""The interface of a store: a place for files, in which each appears whole, under its name, or not at all.

Names are relative to OUT, with ``/`` between folders. A folder is there as long as a file is in it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from io import BufferedReader
from typing import Any, BinaryIO, NamedTuple, TypeVar

THREADS = 32  # files asked for at once, where each costs a round trip
PREFETCHED = 4  # large files that are read before their use
CHUNK = 64  # at most so many items go to a thread together: less overhead where each takes no time
T = TypeVar("T")
R = TypeVar("R")


class Stat(NamedTuple):
    """What a listing says of a file: bytes, seconds since the epoch by the store's clock, and its version if any."""

    size: int
    modified: float
    version: str = ""


class Store(ABC):
    """A folder on a file system or a prefix in an object store.

    All methods raise StorageError where the store fails for a reason outside the run, and those that read raise
    FileNotFoundError where there is no such file.

    Attributes:
        exclusive: whether of several that create one name at the same moment surely only one succeeds.
    """

    exclusive: bool = True

    @abstractmethod
    def where(self, name: str = "") -> str:
        """Path or URL of a file, for people."""

    @abstractmethod
    def read(self, name: str, listed: Stat | None = None) -> bytes:
        """The bytes of a file; with what a listing said of it, a copy that was read before may do."""

    @abstractmethod
    def reading(self, name: str) -> AbstractContextManager[BufferedReader]:
        """A file for reading at any place."""

    @abstractmethod
    def stat(self, name: str) -> Stat | None:
        """Size and time of a file, or None where there is none."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names of the files that lie directly in a folder; none where there is no folder."""

    @abstractmethod
    def tree(self, top: str) -> dict[str, Stat]:
        """All files below a folder, by their whole names."""

    @abstractmethod
    def create(self, name: str, data: bytes, durable: bool = True) -> bool:
        """Make a file; False where one has that name already, and stays as it is.

        Args:
            name: of the file.
            data: its content.
            durable: whether it must survive a power cut.
        """

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Put a file in the place of what was there."""

    @abstractmethod
    def replacing(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A temporary file that takes the name when the block ends without exception."""

    @abstractmethod
    def move(self, old: str, new: str) -> bool:
        """Rename a file; False where it is gone. A store without renaming leaves both names where it is cut."""

    @abstractmethod
    def delete(self, *names: str) -> None:
        """Remove files, one after the other; those that are gone are passed over."""

    @abstractmethod
    def touch(self, name: str, data: bytes) -> None:
        """Make a file that has this content as young as a new one."""

    @abstractmethod
    def now(self, beside: str) -> float:
        """The time on the clock that dates the files; told from a file that is made beside that name and removed."""

    @abstractmethod
    def probe(self, name: str) -> None:
        """Find out, by a file that is there and stays as it is, whether creation is exclusive."""

    @abstractmethod
    def sweep(self, *names: str) -> None:
        """Remove what killed writers of these files left."""

    @abstractmethod
    def prune(self, folder: str) -> None:
        """Remove a folder and those above it, up to OUT, as far as they are empty."""

    @abstractmethod
    def prune_below(self, top: str) -> None:
        """Remove all empty folders below one, and itself."""

    def below(self, top: str) -> list[str]:
        """The whole names of all files below a folder."""
        return list(self.tree(top))

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.stat(name) is not None

    def json(self, name: str, listed: Stat | None = None) -> dict[str, Any] | None:
        """The object in a JSON file; None where there is no such file, or no object in it."""
        try:
            value = json.loads(self.read(name, listed))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def __str__(self) -> str:
        return self.where()


def map_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``function`` of each item, in order, called in threads."""
    size = max(1, min(CHUNK, len(items) // THREADS))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda chunk: [function(item) for item in chunk], chunks)
        return [result for chunk in results for result in chunk]


def prefetch(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """``function`` of each item, in order; threads compute the next few while one is used."""
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(PREFETCHED) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > PREFETCHED:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

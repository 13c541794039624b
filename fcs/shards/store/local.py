"""A run's files in a folder, mounted or of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from fcs.shards.store import atomic_files as files
from fcs.shards.store.base import Stat, Store


class LocalStore(Store):
    """A folder on a file system that has hard links."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, name: str = "") -> str:
        return str(self.root / name)

    def read(self, name: str, listed: Stat | None = None) -> bytes:
        path = self.root / name
        with files.storage(path):
            return path.read_bytes()

    @contextmanager
    def reading(self, name: str) -> Iterator[BufferedReader]:
        path = self.root / name
        with files.storage(path):
            file = open(path, "rb")  # noqa: SIM115
        with file:
            yield file

    def stat(self, name: str) -> Stat | None:
        with files.storage(self.root / name), suppress(FileNotFoundError, NotADirectoryError):
            found = os.stat(self.root / name)
            return Stat(found.st_size, found.st_mtime)
        return None

    def names(self, folder: str) -> list[str]:
        path = self.root / folder
        with files.storage(path), suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        return []

    def tree(self, top: str) -> dict[str, Stat]:
        found = {}
        with files.storage(self.root / top):
            for name in self.below(top):
                with suppress(FileNotFoundError):
                    stat = os.stat(f"{self.root}/{name}")
                    found[name] = Stat(stat.st_size, stat.st_mtime)
        return found

    def below(self, top: str) -> list[str]:
        with files.storage(self.root / top):
            # What cannot be listed must not look as if it were gone.
            walk = os.walk(self.root / top, onerror=_raise)
            folders = ((Path(folder).relative_to(self.root).as_posix(), names) for folder, _, names in walk)
            return [f"{folder}/{name}" for folder, names in folders for name in names]

    def create(self, name: str, data: bytes, durable: bool = True) -> bool:
        return files.write_exclusive(self.root / name, data, durable)

    def replace(self, name: str, data: bytes) -> None:
        files.write_replace(self.root / name, data)

    def replacing(self, name: str) -> AbstractContextManager[BinaryIO]:
        return files.replacing(self.root / name)

    def move(self, old: str, new: str) -> bool:
        source, target = self.root / old, self.root / new
        with files.storage(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(source, target)
            except FileNotFoundError:
                return False
            for folder in dict.fromkeys((target.parent, source.parent)):
                files.sync_folder(folder)
        return True

    def delete(self, *names: str) -> None:
        for name in names:
            with files.storage(self.root / name), suppress(FileNotFoundError):
                os.unlink(self.root / name)

    def touch(self, name: str, data: bytes) -> None:
        with files.storage(self.root / name):
            os.utime(self.root / name)

    def now(self, beside: str) -> float:
        fresh = files.temp_name(self.root / beside)
        with files.storage(fresh):
            try:
                fresh.touch()
                return os.stat(fresh).st_mtime
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(fresh)

    def probe(self, name: str) -> None:
        """Nothing: a second link of one name fails."""

    def sweep(self, *names: str) -> None:
        for name in names:
            for path in files.leftovers(self.root / name):
                self.delete(path.relative_to(self.root).as_posix())

    def prune(self, folder: str) -> None:
        path = self.root / folder
        while path != self.root:
            try:
                os.rmdir(path)
            except OSError:  # not empty: another shard's, or a late writer's
                return
            path = path.parent

    def prune_below(self, top: str) -> None:
        for folder, _, _ in os.walk(self.root / top, topdown=False):
            with suppress(OSError):  # not empty, or gone
                os.rmdir(folder)


def _raise(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error

"""Object stores, reached by fsspec: a PUT makes a whole object or none, and nothing can be renamed.

Errors that pass are retried by the clients themselves (s3fs, gcsfs, adlfs); what reaches this module is final.
"""

from __future__ import annotations

import errno
import io
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO, cast

from fcs.core.errors import StorageError, first_line
from fcs.shards.store.base import Stat, Store, map_threads
from fcs.shards.store.range_file import RangeFile

_READ = 4 << 20  # bytes asked for at once of a file that is read in pieces


class RemoteStore(Store):
    """A prefix in an object store.

    Args:
        fs: fsspec's file system, without a cache of listings.
        root: the prefix, as that file system calls it.
        url: the same for people.
        exclusive: whether the store itself refuses to create what is there.
    """

    def __init__(self, fs: Any, root: str, url: str, exclusive: bool) -> None:
        self.fs, self.root, self.url, self.exclusive = fs, root, url, exclusive
        self._prefixes = exclusive  # the same clients can list by a prefix
        self._probed = False
        self._known: dict[str, tuple[Stat, bytes]] = {}
        self._ahead: float | None = None

    def where(self, name: str = "") -> str:
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str, listed: Stat | None = None) -> bytes:
        if listed is not None and self._known.get(name, (None,))[0] == listed:
            return self._known[name][1]
        with self._reading(name):
            data = bytes(self.fs.cat_file(self._path(name)))
        if listed is not None:
            self._known[name] = (listed, data)
        return data

    @contextmanager
    def reading(self, name: str) -> Iterator[io.BufferedReader]:
        found = self.stat(name)
        if found is None:
            raise FileNotFoundError(self.where(name))
        with io.BufferedReader(RangeFile(partial(self._part, name), found.size), _READ) as file:
            yield cast(io.BufferedReader, file)

    def stat(self, name: str) -> Stat | None:
        if self._prefixes:
            return self._listed(name).get(name)
        with self._reading(name), suppress(FileNotFoundError):
            info = self.fs.info(self._path(name))
            return _stat(info) if info["type"] == "file" else None
        return None

    def names(self, folder: str) -> list[str]:
        inside = (name.removeprefix(f"{folder}/") for name in self.tree(folder))
        return [name for name in inside if "/" not in name]

    def tree(self, top: str) -> dict[str, Stat]:
        return self._listed(f"{top}/" if top else "")

    def create(self, name: str, data: bytes, durable: bool = True) -> bool:
        if not self.exclusive and self.exists(name):
            return False
        lost: Exception | None = None
        try:
            self.fs.pipe_file(self._path(name), data, mode="create" if self.exclusive else "overwrite")
        except Exception as error:  # "it exists", or anything that may have come after the PUT was done
            if self.exclusive and getattr(error, "errno", None) == errno.ENOSYS:
                self.exclusive = False  # some that speak S3 know no conditions and say so
                return self.create(name, data)
            lost = error
        if self.exclusive and lost is None:
            return True
        # Ours may be the one that exists: a client that lost the answer has asked again.
        try:
            return self.read(name) == data
        except FileNotFoundError:
            raise self._error(name, lost or FileNotFoundError("gone as soon as it was written")) from lost

    def probe(self, name: str) -> None:
        if not self.exclusive or self._probed:
            return
        data = self.read(name)
        with self._writing(name), suppress(FileExistsError):
            try:
                self.fs.pipe_file(self._path(name), data, mode="create")
                self.exclusive = False  # others pass over the condition; this file has its bytes again
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                self.exclusive = False
        self._probed = True

    def replace(self, name: str, data: bytes) -> None:
        with self._writing(name):
            self.fs.pipe_file(self._path(name), data)

    @contextmanager
    def replacing(self, name: str) -> Iterator[BinaryIO]:
        # Unnamed: the system removes it even when the process is killed.
        with tempfile.TemporaryFile(prefix="fcs-") as file:
            yield cast(BinaryIO, file)
            file.seek(0)
            with self._writing(name):
                self.fs.put_file(f"/dev/fd/{file.fileno()}", self._path(name))

    def move(self, old: str, new: str) -> bool:
        try:
            data = self.read(old)
        except FileNotFoundError:
            return False
        if not self.create(new, data):
            return False
        self.delete(old)
        return True

    def delete(self, *names: str) -> None:
        map_threads(self._delete, names)

    def touch(self, name: str, data: bytes) -> None:
        if self.read(name) == data:
            self.replace(name, data)

    def now(self, beside: str) -> float:
        if self._ahead is None:
            folder, _, last = beside.rpartition("/")
            name = f"{folder}/.{last}.{uuid.uuid4().hex[:12]}.tmp"
            self.replace(name, b"")
            found = self.stat(name)
            self.delete(name)
            self._ahead = (found.modified if found else time.time()) - time.time()
        return time.time() + self._ahead

    def sweep(self, *names: str) -> None:
        """Nothing: what was not put whole is not there."""

    def prune(self, folder: str) -> None:
        """Nothing: there are no folders."""

    def prune_below(self, top: str) -> None:
        """Nothing, likewise."""

    def _delete(self, name: str) -> None:
        with self._reading(name), suppress(FileNotFoundError):
            self.fs.rm_file(self._path(name))

    def _part(self, name: str, first: int, stop: int) -> bytes:
        with self._reading(name):
            return bytes(self.fs.cat_file(self._path(name), start=first, end=stop))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _listed(self, prefix: str) -> dict[str, Stat]:
        """All files whose names begin so."""
        with self._reading(prefix), suppress(FileNotFoundError):
            if self._prefixes:
                found = self.fs.find(self.root, detail=True, prefix=prefix)
            else:
                found = self.fs.find(self._path(prefix.rstrip("/")), detail=True)
            names = ((path.removeprefix(f"{self.root}/"), info) for path, info in found.items())
            return {name: _stat(info) for name, info in names if name.startswith(prefix)}
        return {}

    def _error(self, name: str, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        raised = StorageError(f"{self.where(name)}: {first_line(error)}")
        raised.errno = getattr(error, "errno", None)
        return raised

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # every client has its own
            raise self._error(name, error) from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a bucket that does not exist too
            raise self._error(name, error) from error


def _stat(info: dict[str, Any]) -> Stat:
    version = next((str(info[key]) for key in ("ETag", "etag", "generation", "md5Hash") if info.get(key)), "")
    times = (info.get(key) for key in ("LastModified", "last_modified", "mtime", "updated", "created"))
    return Stat(int(info["size"] or 0), _seconds(next((time for time in times if time is not None), 0.0)), version)


def _seconds(value: Any) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return float(value.timestamp() if isinstance(value, datetime) else value)

"""An object store in memory, with the few calls of fsspec's that a run makes; it counts them, fails and is cut."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Cut(BaseException):
    """As if the process were killed: nothing is written any more."""


class Objects:
    """Objects by whole name. Conditional PUTs are decided under a lock, listings are never old.

    Attributes:
        held: name to (bytes, seconds since the epoch, number of the write).
        asked: calls by name.
        left: writes before everything is cut; None for no end.
        after: called with the name of a write when it is done.
    """

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, float, int]] = {}
        self.asked: Counter[str] = Counter()
        self.left: int | None = None
        self.after: Callable[[str], None] = lambda name: None
        self.writes = 0
        self._lock = threading.Lock()

    def copy(self) -> Objects:
        other = Objects()
        other.held = dict(self.held)
        return other

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        with self._lock:
            self._write("pipe_file")
            if mode == "create" and path in self.held:
                raise FileExistsError(path)
            self.held[path] = (bytes(value), time.time(), self.writes)
        self.after(path)

    def put_file(self, local: str, path: str) -> None:
        self.pipe_file(path, Path(local).read_bytes())

    def rm_file(self, path: str) -> None:
        with self._lock:
            self._write("rm_file")
            if self.held.pop(path, None) is None:
                raise FileNotFoundError(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        self.asked["cat_file"] += 1
        with self._lock:
            if path not in self.held:
                raise FileNotFoundError(path)
            return self.held[path][0][start:end]

    def find(self, path: str, detail: bool, prefix: str = "") -> dict[str, dict[str, Any]]:
        self.asked["find"] += 1
        with self._lock:
            return {name: self._info(name) for name in sorted(self.held) if name.startswith(f"{path}/{prefix}")}

    def info(self, path: str) -> dict[str, Any]:
        self.asked["info"] += 1
        with self._lock:
            if path not in self.held:
                raise FileNotFoundError(path)
            return self._info(path)

    def _info(self, name: str) -> dict[str, Any]:
        data, modified, number = self.held[name]
        return {"type": "file", "size": len(data), "mtime": modified, "ETag": str(number)}

    def _write(self, call: str) -> None:
        self.asked[call] += 1
        if self.left is not None and self.left <= 0:
            raise Cut(call)
        self.left = None if self.left is None else self.left - 1
        self.writes += 1

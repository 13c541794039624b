"""An object of a store as a seekable file that is read in ranges."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class RangeFile(io.RawIOBase):
    """An object as a file; only the ranges that are read are fetched."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        """Args: ``part``, bytes from the first to before the second number; ``size`` of the whole."""
        super().__init__()
        self.part, self.size, self.place = part, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def readinto(self, into: Any, /) -> int:
        view = memoryview(into)
        stop = min(self.place + len(view), self.size)
        data = self.part(self.place, stop) if stop > self.place else b""
        view[: len(data)] = data
        self.place += len(data)
        return len(data)

"""Something that is read in ranges, as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class Ranges(io.RawIOBase):
    """An object as a file, asked for in ranges."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        """Args: ``part``, bytes from the first to before the second number; ``size`` of all."""
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

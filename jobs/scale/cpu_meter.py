"""CPU seconds of a command and all that it starts, whoever their parent is by then."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK = 0.25  # seconds between two looks; what a process does after the last one of them is not seen
TICK = os.sysconf("SC_CLK_TCK")


class CpuMeter:
    """Looks at the processes whose environment has a mark of its own, which they hand on (daemons of Ray's too)."""

    def __init__(self) -> None:
        self.variable = f"MARK_{secrets.token_hex(8)}"
        self._spent: dict[int, float] = {}

    @property
    def seconds(self) -> float:
        """User and system time of all of them together, as far as was seen."""
        return sum(self._spent.values())

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look again and again, from another thread."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK):
                self.look()

        thread = threading.Thread(target=watch, name="cpu-meter")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def look(self) -> None:
        """Once."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if self.variable.encode() in (folder / "environ").read_bytes():
                        numbers = (folder / "stat").read_text().rpartition(")")[2].split()
                        self._spent[int(folder.name)] = (int(numbers[11]) + int(numbers[12])) / TICK
                except OSError:  # it has ended, or is another user's
                    continue

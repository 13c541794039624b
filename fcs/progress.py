"""How far a run is: a bar on a terminal, quiet lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

QUIET_SECONDS = 30.0


class Progress:
    """Records done of total, rate and time left.

    Args:
        total: records of the run; None where it is not known yet.
        done: records done by earlier runs.
        stream: where it is shown; standard error if left out.
    """

    def __init__(self, total: int | None, done: int = 0, stream: TextIO | None = None) -> None:
        self.total, self.done, self.stream = total, done, stream or sys.stderr
        self.failed = 0
        self._start, self._began = done, time.monotonic()
        self._said = self._began
        options = {"total": total, "initial": done, "unit": "record", "dynamic_ncols": True, "file": self.stream}
        self._bar = tqdm(**options) if self.stream.isatty() else None

    def update(self, count: int, failed: int) -> None:
        """``count`` more records are done, ``failed`` of them failed."""
        self.done, self.failed = self.done + count, self.failed + failed
        if self._bar is not None:
            self._bar.update(count)
            if self.failed:
                self._bar.set_postfix(failed=self.failed)
        elif time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def line(self) -> str:
        """One line that says all of it."""
        seconds = time.monotonic() - self._began
        rate = (self.done - self._start) / seconds if seconds > 0 else 0.0
        parts = [f"records {self.done}/{'?' if self.total is None else self.total}", f"failed {self.failed}"]
        parts.append(f"{rate:.2f} records/s")
        if self.total is not None and rate > 0:
            parts.append(f"{(self.total - self.done) / rate:.0f} s left")
        return "  ".join(parts)

    def close(self) -> None:
        """End the bar, or say the last line."""
        if self._bar is not None:
            self._bar.close()
        else:
            print(self.line(), file=self.stream, flush=True)

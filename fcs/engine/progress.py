"""How far a run is: a bar on a terminal, quiet lines elsewhere, numbers for a logger."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TextIO

from lightning.pytorch.loggers import Logger
from tqdm import tqdm

QUIET_SECONDS = 30.0


class Progress:
    """Records done of total, rate, time left and running means.

    Args:
        total: records of the run; None where it is not known yet.
        done: records that other processes or earlier runs have finished, failed ones too.
        failed: how many of these failed.
        stream: where it is shown; standard error if left out.
        shown: whether it is shown at all.
    """

    def __init__(
        self, total: int | None, done: int = 0, stream: TextIO | None = None, shown: bool = True, failed: int = 0
    ) -> None:
        self.total, self.done, self.stream = total, done, stream or sys.stderr
        self.failed = failed
        self._sums: dict[str, tuple[float, int]] = {}
        self._start, self._began = done, time.monotonic()
        self._said = -QUIET_SECONDS  # the first batch is said as soon as it is done
        options = {"total": total, "initial": done, "unit": "record", "dynamic_ncols": True, "file": self.stream}
        self._shown = shown
        self._bar = tqdm(**options) if shown and self.stream.isatty() else None
        if shown and self._bar is None:
            print(self.line(), file=self.stream, flush=True)

    def update(self, count: int, failed: int, scores: Iterable[Mapping[str, float | None]] = ()) -> None:
        """``count`` more records are done, ``failed`` of them failed; ``scores`` of the others."""
        self.done, self.failed = self.done + count, self.failed + failed
        for row in scores:
            for name, value in row.items():
                if value is not None:
                    total, number = self._sums.get(name, (0.0, 0))
                    self._sums[name] = total + value, number + 1
        if self._bar is not None:
            self._bar.set_postfix(({"failed": self.failed} if self.failed else {}) | self._whole_means(), refresh=False)
            self._bar.update(count)
        elif self._shown and time.monotonic() - self._said > QUIET_SECONDS:
            self._said = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    @property
    def rate(self) -> float:
        """Records a second, of this process since it began."""
        seconds = time.monotonic() - self._began
        return (self.done - self._start) / seconds if seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until all is done at this rate; None where that is not known."""
        return (self.total - self.done) / self.rate if self.total is not None and self.rate > 0 else None

    def means(self) -> dict[str, float]:
        """Of residual and scores, over the records that this process has done and that have one."""
        return {name: total / number for name, (total, number) in list(self._sums.items())}

    def line(self) -> str:
        """One line that says all of it."""
        parts = [f"records {self.done}/{'?' if self.total is None else self.total}", f"failed {self.failed}"]
        parts += [f"{self.rate:.2f} records/s"] if self.done > self._start else []
        parts += [] if self.left is None else [f"{self.left:.0f} s left"]
        return "  ".join([*parts, *(f"{name} {value}" for name, value in self._whole_means().items())])

    def close(self) -> None:
        """End the bar, or say the last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._shown:
            print(self.line(), file=self.stream, flush=True)

    def _whole_means(self) -> dict[str, str]:
        """The means of whole pictures; those of parts would fill the line."""
        return {name: f"{value:.4g}" for name, value in self.means().items() if "_" not in name}


def log_progress(loggers: Sequence[Logger], progress: Progress) -> None:
    """Log counts, rate, seconds left and running means, by the number of records that are done."""
    numbers = {"records": float(progress.done), "failed": float(progress.failed), "rate": progress.rate}
    numbers |= {} if progress.left is None else {"seconds_left": progress.left}
    for logger in loggers:
        logger.log_metrics(numbers | progress.means(), step=progress.done)

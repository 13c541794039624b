"""Stopping on a signal: the current batch may end within the grace; then it is cut at the next denoiser call."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any

from fcs.core.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# Seconds in which a second signal is the same one: a process group's, and once more by the parent that hands it on.
TOGETHER = 2.0


class Stop:
    """Whether and when a signal asked this process to stop. The handler only sets a flag.

    As a context manager it installs its handlers and puts back those that were there before.

    Args:
        grace: seconds that the current batch may still take.
        last: whether the process ends afterwards; signals are ignored then, and no handler is put back.
    """

    def __init__(self, grace: float = 20.0, last: bool = False) -> None:
        self.grace = grace
        self.last = last
        self.name: str | None = None
        self._deadline = self._again = float("inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            # Python gives up handlers before it has ended, but leaves an ignored signal ignored.
            signal.signal(number, signal.SIG_IGN if self.last else handler)

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGUSR1 from now on, whatever handled or blocked them before."""
        for number in SIGNALS:
            signal.signal(number, self._ask)
        # Ray's processes block SIGINT, and their children inherit it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.name is None:
            self.name = signal.Signals(number).name
            self._deadline = time.monotonic() + self.grace
            self._again = time.monotonic() + TOGETHER
        elif time.monotonic() > self._again:  # asked twice: no more grace
            self._deadline = 0.0

    def check(self) -> None:
        """Between batches: raises Interrupted if a signal came."""
        if self.name is not None:
            raise Interrupted(f"stopped by {self.name}; the same command continues the run")

    @property
    def impatient(self) -> bool:
        """Whether a signal came whose grace is over, or a second one."""
        return self.name is not None and time.monotonic() > self._deadline

    def watch(self) -> None:
        """Within a batch: raises Interrupted if a signal came and its grace is over."""
        if self.impatient:
            self.check()

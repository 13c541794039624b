"""Several processes on one machine, started by a parent that is no rank itself and waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from fcs.core.exit_codes import DONE, SOME_FAILED, worst
from fcs.engine.signals import SIGNALS

POLL = 0.1  # seconds between two looks at the ranks
FINE = (DONE, SOME_FAILED)


class RankProcesses:
    """The ranks of this machine.

    Args:
        command: what each rank runs.
        patience: where ranks depend on each other: when one of them has ended badly, the others are sent SIGTERM, and
            after so many seconds SIGKILL. None where they do not.
    """

    def __init__(self, command: Sequence[str], patience: float | None = None) -> None:
        self.command, self.patience = list(command), patience
        self._ranks: list[subprocess.Popen[bytes]] = []

    def kill(self, signum: int) -> None:
        """Send a signal to all ranks that run."""
        for rank in self._ranks:
            if rank.poll() is None:
                rank.send_signal(signum)

    def run(self, environments: Sequence[Mapping[str, str]]) -> int:
        """Start one rank in each environment and wait for all of them; returns the exit code that counts.

        SIGTERM, SIGINT and SIGUSR1 are handed on meanwhile.
        """
        asked: list[int] = []  # signals, in order
        told: list[int] = []  # how many of them each rank was sent

        def tell() -> None:
            for number, rank in enumerate(self._ranks):
                while told[number] < len(asked):
                    told[number] += 1  # first: a signal that comes just here must not send this one again
                    if rank.poll() is None:
                        rank.send_signal(asked[told[number] - 1])

        def forward(number: int, frame: FrameType | None) -> None:
            asked.append(number)
            tell()

        before = {number: signal.signal(number, forward) for number in SIGNALS}
        try:
            for environment in environments:
                told.append(0)
                # In groups of their own: a terminal's Ctrl-C would reach them twice, from it and from here.
                self._ranks.append(subprocess.Popen(self.command, env=environment, process_group=0))
                tell()  # what came while this rank was being started
            self._wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return worst(rank.returncode for rank in self._ranks)

    def _wait(self) -> None:
        kill_at = float("inf")
        while None in (codes := [rank.poll() for rank in self._ranks]):
            bad = any(code not in (None, *FINE) for code in codes)
            if bad and self.patience is not None and kill_at == float("inf"):
                self.kill(signal.SIGTERM)
                kill_at = time.monotonic() + self.patience
            elif time.monotonic() > kill_at:
                self.kill(signal.SIGKILL)
            time.sleep(POLL)


def follow_parent(parent: int) -> None:
    """Send this rank SIGTERM when its parent is gone, now or later, so that no process outlives its command.

    Args:
        parent: its process number, as the parent itself told it: when the rank looks, another may stand there already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()

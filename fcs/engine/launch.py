"""Several processes on one machine: one a device, started by a parent that is no rank itself.

The ranks share nothing but the file system, so any of them may end early or fail without holding up the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

from fcs.engine.signals import SIGNALS

EXIT_INTERRUPTED = 75


def launch(arguments: list[str], count: int) -> int:
    """Run the command in ``count`` processes and wait for all of them.

    Signals are handed on. Returns the highest exit code; a rank that a signal killed counts as 75.
    """
    # -P: what lies in the working directory must not be imported for a package of that name.
    command = [sys.executable, "-P", "-m", "fcs.tools.cli.predict", *arguments]
    ranks: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []  # signals, in order
    told = [0] * count  # how many of them each rank was sent

    def tell() -> None:
        for place, rank in enumerate(ranks):
            while told[place] < len(asked):
                told[place] += 1  # first: a signal that comes just here must not send this one again
                if rank.poll() is None:
                    rank.send_signal(asked[told[place] - 1])

    def forward(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        tell()

    for number in SIGNALS:
        signal.signal(number, forward)
    for rank in range(count):
        environment = {**os.environ, "FCS_RANK": str(rank), "FCS_WORLD": str(count)}
        # In groups of their own: a terminal's Ctrl-C would reach them twice, from it and from here.
        ranks.append(subprocess.Popen(command, env=environment, process_group=0))
        tell()  # what came while this rank was being started
    codes = [rank.wait() for rank in ranks]
    return max(EXIT_INTERRUPTED if code < 0 else code for code in codes)


def follow_parent() -> None:
    """Ask this rank to stop when its parent is gone, so that no process outlives its command."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="follow-parent", daemon=True).start()

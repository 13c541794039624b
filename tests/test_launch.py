"""Several processes: the highest exit code counts, signals are handed on, nobody outlives the command."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.waiting import GUARD, wait_until

# `launch` in a process of its own, its ranks a few lines instead of the whole command.
PARENT = """
import subprocess, sys
from fcs.engine import launch
start = subprocess.Popen
launch.subprocess.Popen = lambda command, **options: start([sys.executable, "-c", sys.argv[1]], **options)
sys.exit(launch.launch([], 3))
"""


@contextlib.contextmanager
def parent(rank: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", PARENT, rank], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("rank", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("import os; raise SystemExit([0, 3, 0][int(os.environ['FCS_RANK'])])", 3),
        ("import os; raise SystemExit([74, 3, 70][int(os.environ['FCS_RANK'])])", 74),
        ("import os, signal; os.environ['FCS_RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL)", 75),
    ],
)
def test_the_highest_code_counts_and_a_killed_rank_is_interrupted(rank: str, code: int) -> None:
    with parent(rank) as process:
        assert process.wait(GUARD) == code


def test_a_signal_reaches_each_rank_once() -> None:
    rank = """
import os, signal, sys, time
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
os.write(1, b"ready\\n")
while not seen:
    time.sleep(0.01)
time.sleep(0.3)
os.write(1, b"%d\\n" % len(seen))
sys.exit(75)
"""
    with parent(rank) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["ready\n"] * 3
        process.send_signal(signal.SIGTERM)
        assert [process.stdout.readline() for _ in range(3)] == ["1\n"] * 3
        assert process.wait(GUARD) == 75


def test_a_rank_follows_its_parent() -> None:
    rank = """
import os, time
from fcs.engine.launch import follow_parent
follow_parent()
os.write(1, b"%d\\n" % os.getpid())
time.sleep(3600)
"""
    with parent(rank) as process:
        assert process.stdout is not None
        ranks = [int(process.stdout.readline()) for _ in range(3)]
        process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ranks))

"""Several ranks: the worst exit code counts, signals are handed on, nobody outlives the command."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.waiting import GUARD

from fcs.core.exit_codes import ALL, worst

# The launcher in a process of its own, its ranks a few lines instead of the whole command.
PARENT = """
import os, sys
from fcs.engine.rank_processes import RankProcesses
ranks = RankProcesses([sys.executable, "-c", sys.argv[1]], float(sys.argv[2]) if sys.argv[2:] else None)
sys.exit(ranks.run([{**os.environ, "RANK": str(i), "FCS_PARENT": str(os.getpid())} for i in range(3)]))
"""


@contextlib.contextmanager
def parent(rank: str, *patience: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PARENT, rank, *patience]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def codes_of(*codes: int) -> str:
    return f"import os; raise SystemExit({list(codes)}[int(os.environ['RANK'])])"


KILLED = "import os, signal; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(("rank", "code"), [(codes_of(0, 3, 0), 3), (codes_of(75, 3, 70), 70), (KILLED, 75)])
def test_the_worst_code_counts(rank: str, code: int) -> None:
    with parent(rank) as process:
        assert process.wait(GUARD) == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 3], 3),
        ([4, 3, 2], 4),
        ([74, 70], 74),
        ([74, 75], 75),
        ([70, 75], 70),  # a defect is not mended by running the command again
        ([70, 74, 75], 74),
        ([0, -signal.SIGKILL], 75),
        ([-signal.SIGKILL, 70], 70),
        ([0, 1], 70),  # Python's own, where an import fails
    ],
)
def test_which_code_counts(codes: list[int], code: int) -> None:
    assert worst(codes) == worst(reversed(codes)) == code


def test_one_code_alone_is_its_own() -> None:
    assert [worst([code]) for code in ALL] == list(ALL)


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


def test_ranks_that_depend_on_each_other_end_together() -> None:
    rank = """
import os, signal, sys, time
if os.environ["RANK"] == "0":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
if os.environ["RANK"] == "1":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as in a collective call
if os.environ["RANK"] == "2":
    sys.exit(74)
while True:
    time.sleep(0.01)
"""
    with parent(rank, "1.0") as process:
        assert process.wait(GUARD) == 75


@contextlib.contextmanager
def followers(parent_of: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A launcher whose ranks follow process ``parent_of`` and say their numbers; the ranks' pipe ends with them."""
    rank = f"""
import os, time
from fcs.engine.rank_processes import follow_parent
os.write(1, b"%d\\n" % os.getpid())
follow_parent({parent_of})
time.sleep(10 * {GUARD})
"""
    with parent(rank) as process:
        assert process.stdout is not None
        yield process, [int(process.stdout.readline()) for _ in range(3)]


def test_a_rank_follows_its_parent() -> None:
    with followers("int(os.environ['FCS_PARENT'])") as (process, ranks):
        assert all(Path(f"/proc/{pid}").exists() for pid in ranks)
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == ""  # once all who hold the pipe are gone


def test_a_rank_whose_parent_is_gone_already_ends() -> None:
    """As if the parent had died before the rank looked: another process is in its place, and lives on."""
    with followers("2**22 + 1") as (process, _):
        assert process.wait(GUARD) == 75

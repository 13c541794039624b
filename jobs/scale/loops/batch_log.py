"""What a process has done: a line for each batch, by which the ways are measured; nobody else would write it."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Batch(NamedTuple):
    """When a process ended a batch, the CPU seconds that it had had by then, pictures, and network calls of each."""

    ended: float
    cpu: float
    pictures: int
    calls: int


def write(log: Path, calls: Sequence[int]) -> None:
    """Add the batch that this process has just ended, with the network calls of each picture."""
    with log.open("a") as file:
        file.write(f"{os.getpid()} {time.time()} {time.process_time()} {len(calls)} {max(calls)}\n")


def read(log: Path) -> dict[int, list[Batch]]:
    """The batches of each process, by its number, in order."""
    found: dict[int, list[Batch]] = defaultdict(list)
    for line in log.read_text().splitlines() if log.exists() else ():
        pid, ended, cpu, pictures, calls = line.split()
        found[int(pid)].append(Batch(float(ended), float(cpu), int(pictures), int(calls)))
    return found

"""Seconds of things side by side: in turn, again and again, so that whatever else the machine does meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of the processor (all threads of this process)."""

    wall: float
    cpu: float

    def __truediv__(self, by: float) -> Spent:
        return Spent(self.wall / by, self.cpu / by)


def spent(do: Callable[[], object]) -> Spent:
    """What one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(cells: Mapping[str, Callable[[], Spent]], repeats: int) -> dict[str, list[Spent]]:
    """Each cell's seconds, ``repeats`` of them; in every round each is measured once."""
    found: dict[str, list[Spent]] = {name: [] for name in cells}
    for _ in range(repeats):
        for name, measure in cells.items():
            found[name].append(measure())
    return found


def ratio(above: list[Spent], below: list[Spent], kind: str = "wall") -> float:
    """Median over the rounds of one cell's seconds over another's."""
    pairs = zip(above, below, strict=True)
    return statistics.median(getattr(one, kind) / max(getattr(other, kind), 1e-9) for one, other in pairs)


def median(found: list[Spent], kind: str = "wall") -> float:
    """Median seconds of a cell."""
    return statistics.median(getattr(one, kind) for one in found)

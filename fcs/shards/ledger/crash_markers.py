"""Crash markers: files that tell which batches a process died with.

While a process has a batch, a marker lies beside the claim of the batch's slice. The process removes it when the batch
is done, is given back, or the process ends by itself for whatever reason. A marker that the next owner of the slice
finds therefore means a crash; it stays until the shard is committed. Nothing else counts crashes, so neither a kill nor
two processes that take over at once can lose one or count it twice. Markers name records, not batches, since the batch
size may change between two starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TRIES = 3  # crashes after which the records of a batch are tried one at a time
_NAME = re.compile(r"\.(\d{8})(?:-(\d{8}))?\.([0-9a-f]{32})")  # hidden: it is no claim


class CrashMarker(NamedTuple):
    """Records that a process works on together.

    Attributes:
        first, last: the records.
        alone: whether it is one record, and the process has nothing else.
        owner: the process, by the id of its claims.
    """

    first: int
    last: int
    alone: bool
    owner: str

    @property
    def name(self) -> str:
        """Of its file in the claims folder of the shard."""
        return f".{self.first:08d}{'' if self.alone else f'-{self.last:08d}'}.{self.owner}"


def read_markers(names: Iterable[str], me: str) -> list[CrashMarker]:
    """The markers among the names in a claims folder that other processes than ``me`` made."""
    found = (_NAME.fullmatch(name) for name in names)
    read = (CrashMarker(int(m[1]), int(m[2] or m[1]), m[2] is None, m[3]) for m in found if m)
    return [marker for marker in read if marker.owner != me]


def crash_count(markers: Sequence[CrashMarker], first: int, stop: int) -> int:
    """How many processes died with one of the records from ``first`` to before ``stop``."""
    return len({marker.owner for marker in markers if marker.first < stop and marker.last >= first})


def crashed_alone(markers: Sequence[CrashMarker], index: int) -> bool:
    """Whether a process died that had nothing but this record."""
    return any(marker.alone and marker.first == index for marker in markers)

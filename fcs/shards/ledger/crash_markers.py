"""Which batches a process died with: what it leaves behind is the record of its death.

While a batch is in hand a mark lies beside its slice's claim. Whoever has it in hand removes the mark: when the batch
is done, is given back, or the process ends by itself, for whatever reason. A mark that is left to the next owner of
the slice is a death, and stays until the shard is committed; nothing is counted anywhere else, so that neither a kill
nor two that take over at once can lose or double a death. Marks name records, since the batch size may change between
two starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TRIES = 3  # deaths after which the records of a batch are tried one at a time
_NAME = re.compile(r"\.(\d{8})(?:-(\d{8}))?\.([0-9a-f]{32})")  # hidden: it is no claim


class CrashMarker(NamedTuple):
    """Records that a process has in hand together.

    Attributes:
        first, last: the records.
        alone: whether it is one that nothing else was in hand with.
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


def marks(names: Iterable[str], me: str) -> list[CrashMarker]:
    """The marks among the names in a claims folder that others than ``me`` made."""
    found = (_NAME.fullmatch(name) for name in names)
    read = (CrashMarker(int(m[1]), int(m[2] or m[1]), m[2] is None, m[3]) for m in found if m)
    return [mark for mark in read if mark.owner != me]


def deaths(left: Sequence[CrashMarker], first: int, stop: int) -> int:
    """How many processes died with one of the records from ``first`` to before ``stop`` in hand."""
    return len({mark.owner for mark in left if mark.first < stop and mark.last >= first})


def alone(left: Sequence[CrashMarker], index: int) -> bool:
    """Whether a process died with nothing but this record in hand."""
    return any(mark.alone and mark.first == index for mark in left)

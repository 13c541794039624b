"""Short names for runs in a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore


def run_names(outs: Sequence[Store]) -> list[str]:
    """A name for each folder: its own, or where several have the same, the part in which their paths differ."""
    paths = [Path(os.path.abspath(out.root) if isinstance(out, LocalStore) else str(out)).parts for out in outs]
    last = [path[-1] for path in paths]
    if len(set(last)) == len(last):
        return last
    head, tail = _common_parts(paths), _common_parts([path[::-1] for path in paths])
    inner = ["/".join(path[head : len(path) - tail]) for path in paths]
    return inner if len(set(inner)) == len(inner) and all(inner) else [str(out) for out in outs]


def _common_parts(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all of these have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))

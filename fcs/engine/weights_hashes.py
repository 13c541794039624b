"""SHA-256 of all weights of a run, computed once: gigabytes that every process would read otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WeightsHash:
    """A hash, and the files as they were when it was computed.

    Attributes:
        sha256: over their content.
        files: of each its path, size, and the times (ns) of the last change of content and of the last change at all.
            The second cannot be set by a program, so a file that was replaced and given its old date shows.
    """

    sha256: str
    files: list[list[Any]]


def hash_of(files: Sequence[Path], compute: Callable[[], str], pinned: Mapping[str, Any] | None) -> WeightsHash:
    """The hash of files: as pinned where they are those that it was computed for, else computed.

    The first process of a run computes it and pins it in ``run.json`` with what it saw of the files. Later processes,
    and later commands, compare the files' paths, sizes and times with that and read nothing. Where anything differs (a
    file was touched, another machine has its own copy) they compute the hash again; if the weights are really others,
    it differs from the pinned one, and the command ends with exit code 2 as for any other setting.

    Args:
        files: all that the hash covers.
        compute: reads them.
        pinned: what ``run.json`` says of them, as ``WeightsHash`` in JSON; None where it says nothing.
    """
    seen = look(files)
    if pinned is not None and pinned.get("files") == seen and isinstance(pinned.get("sha256"), str):
        return WeightsHash(pinned["sha256"], seen)
    return WeightsHash(compute(), seen)  # looked at before: a change while they are read shows at the next start


def look(files: Sequence[Path]) -> list[list[Any]]:
    """Path, size and times of each file."""
    stats = [(path.resolve(), path.stat()) for path in files]
    return [[str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for path, stat in stats]

"""The manifest ``commits.json``: what the commit records of a run say, in one file, so that a start need not read each.

It is a hint. Which shards are committed is what a listing says. Of those, an entry stands for the commit record where
size, time and version of the record are as they were when the entry was made; all other records are read. The file is
believed as a whole or not at all: by its checksum, and where it is of the run's settings. Without it, or with a wrong
one, a start takes longer and nothing else changes.

Whoever commits a shard whose turn it is writes the file anew, with all that is committed then. Turns are spread over
the run, about 64 in all, so that what is written and what a start has to read itself stay small whatever the number of
processes. Two that write at once lose each other's entries, which are then read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fcs.shards.ledger.layout import COMMITS, commit_file
from fcs.shards.store.base import Stat, Store

LEAST = 16  # fewer commit records than that are read, one by one
TURNS = 64  # about so often a run writes its manifest
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are spread evenly, any run of consecutive ones too


class Hint(NamedTuple):
    """What the manifest has of a shard.

    Attributes:
        listed: its commit record as listed when the entry was made.
        record: what it says of ``counts``, ``failures``, ``files`` (``bytes``) and ``timings`` (``committed``).
    """

    listed: Stat
    record: Mapping[str, Any]


def turn(shards: int) -> int:
    """How many commits in a run of so many shards share one writing of the manifest, on average."""
    return max(LEAST, shards // TURNS)


def is_turn(number: int, shards: int) -> bool:
    """Whether the commit of this shard, of so many, is followed by a new manifest."""
    return number * GOLDEN % 1.0 * turn(shards) < 1.0


def read_manifest(out: Store, fingerprint: str) -> dict[str, Hint]:
    """The manifest's entries by STEM; none where it is missing, damaged, or of other settings.

    Raises:
        StorageError: OUT cannot be read.
    """
    held = out.json(COMMITS) or {}
    try:
        if held["fingerprint"] != fingerprint or held["sha256"] != _sha256(held["shards"]):
            return {}
        return {stem: _hint(*entry) for stem, entry in held["shards"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return {}


def write_manifest(
    out: Store, fingerprint: str, listed: Mapping[str, Stat], records: Mapping[str, Mapping[str, Any]]
) -> None:
    """Replace the manifest.

    Args:
        out: the run's store.
        fingerprint: of its settings.
        listed: files below ``shards/``, as listed before the records were read.
        records: by STEM, from commit records or hints.

    Raises:
        StorageError: OUT cannot be written.
    """
    shards = {stem: _entry(listed[commit_file(stem)], record) for stem, record in records.items()}
    held = {"fingerprint": fingerprint, "sha256": _sha256(shards), "shards": shards}
    out.replace(COMMITS, json.dumps(held, separators=(",", ":")).encode())


def _entry(listed: Stat, record: Mapping[str, Any]) -> list[Any]:
    counts = [record["counts"][name] for name in ("records", "ok", "failed")]
    sizes = {name: file["bytes"] for name, file in record["files"].items()}
    return [*listed, counts, record.get("failures") or {}, record["timings"]["committed"], sizes]


def _hint(
    size: int,
    modified: float,
    version: str,
    counts: list[int],
    failures: dict[str, int],
    committed: float,
    sizes: dict[str, int],
) -> Hint:
    records, ok, failed = map(int, counts)
    record = {
        "counts": {"records": records, "ok": ok, "failed": failed},
        "failures": {code: int(count) for code, count in failures.items()},
        "files": {name: {"bytes": int(count)} for name, count in sizes.items()},
        "timings": {"committed": float(committed)},
    }
    return Hint(Stat(size, modified, version), record)


def _sha256(shards: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(shards, separators=(",", ":")).encode()).hexdigest()

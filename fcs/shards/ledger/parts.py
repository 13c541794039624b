"""Parts: the results of each finished batch, one Parquet file ``parts/STEM/FIRST-LAST``.

A part is created exclusively and whole, and never changed. Its name says which records it covers, so that a listing
of names is enough to know what is missing.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from fcs.core.errors import StorageError
from fcs.shards.ledger.layout import PARTS, parts_folder
from fcs.shards.store.base import Store, map_threads

_NAME = re.compile(r"(\d{8})-(\d{8})")
# A former commit record of a shard whose failed records are tried again: before its good results are parts, and after.
REOPENED, ATTEMPT = "reopened.json", "attempt.json"


class Outcome(NamedTuple):
    """What became of a record: its name, and ``code: detail`` where it failed."""

    key: str | None
    error: str | None


def write(out: Store, stem: str, part: pa.Table) -> bool:
    """Create the part of a contiguous run of rows; False where another process was first.

    Raises:
        StorageError: OUT cannot be written.
    """
    indexes = part["index"].to_pylist()
    first, last = indexes[0], indexes[-1]
    if indexes != list(range(first, last + 1)):
        raise ValueError(f"a part is a contiguous run of records, not {indexes}")
    name = f"{parts_folder(stem)}/{first:08d}-{last:08d}"
    if out.exists(name):
        return False
    buffer = io.BytesIO()
    pq.write_table(part, buffer, compression="NONE", use_dictionary=False, write_statistics=False)
    return out.create(name, buffer.getvalue())


def read(out: Store, stem: str, name: str, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part.

    Raises:
        FileNotFoundError: the part is gone, its shard was committed.
    """
    whole = f"{parts_folder(stem)}/{name}"
    if columns is None:
        return pq.read_table(io.BytesIO(out.read(whole)))
    with out.reading(whole) as file:  # the pictures need not come along
        return pq.read_table(file, columns=columns)


def outcomes(out: Store, stem: str, part_names: Iterable[str]) -> dict[int, Outcome]:
    """What became of the records in these parts, by their place in the shard; of two parts the first by name counts.

    Parts that are gone, since their shard was committed meanwhile, are left out.

    Raises:
        StorageError: OUT cannot be read, or a part is damaged.
    """
    found: dict[int, Outcome] = {}
    for part in map_threads(lambda name: _outcomes(out, stem, name), sorted_parts(part_names)):
        found = {**part, **found}
    return dict(sorted(found.items()))


def _outcomes(out: Store, stem: str, name: str) -> dict[int, Outcome]:
    with suppress(FileNotFoundError):
        try:
            rows = read(out, stem, name, ["index", "key", "error"]).to_pydict()
        except pa.ArrowInvalid as error:
            raise StorageError(
                f"{out.where(f'{parts_folder(stem)}/{name}')}: damaged; without it, it is computed again"
            ) from error
        return dict(zip(rows["index"], map(Outcome, rows["key"], rows["error"]), strict=True))
    return {}


def names(out: Store, stem: str) -> list[str]:
    """Names of a shard's parts in the order in which they count."""
    return sorted_parts(out.names(parts_folder(stem)))


def sorted_parts(found: Iterable[str]) -> list[str]:
    """Those of the names that are parts', in the order in which they count."""
    return sorted(name for name in found if _NAME.fullmatch(name))


def by_shard(listed: Iterable[str]) -> dict[str, list[str]]:
    """The parts among these files below ``parts/``, by STEM, in the order in which they count."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in listed:
        folder, _, last = name.removeprefix(f"{PARTS}/").rpartition("/")
        found[folder].append(last)
    return {stem: sorted_parts(names) for stem, names in found.items()}


def covered_ranges(out: Store, stem: str) -> list[tuple[int, int]]:
    """Ranges of records (first, last) that parts cover, sorted and disjoint; from the names alone."""
    return joined_ranges(names(out, stem))


def joined_ranges(part_names: Iterable[str]) -> list[tuple[int, int]]:
    """Ranges of records (first, last) that these parts cover, sorted and disjoint."""
    found: list[tuple[int, int]] = []
    for name in sorted(part_names):
        first, last = span(name)
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def span(name: str) -> tuple[int, int]:
    """First and last record of a part."""
    first, _, last = name.partition("-")
    return int(first), int(last)


def missing_records(ranges: Sequence[tuple[int, int]], first: int, stop: int) -> list[int]:
    """Records from ``first`` to before ``stop`` that the ranges do not cover."""
    wanted = set(range(first, stop))
    for low, high in ranges:
        if low < stop and high >= first:
            wanted.difference_update(range(max(low, first), min(high, stop - 1) + 1))
    return sorted(wanted)


def attempt(out: Store, stem: str) -> int:
    """Which attempt at a shard this is: 1, and one more each time its failed records are tried again."""
    folder = parts_folder(stem)
    if not {REOPENED, ATTEMPT}.intersection(out.names(folder)):
        return 1
    for name in (REOPENED, ATTEMPT):  # in this order: the first becomes the second
        record = out.json(f"{folder}/{name}")
        if record is not None:
            return int(record.get("attempt", 1)) + 1
    return 1

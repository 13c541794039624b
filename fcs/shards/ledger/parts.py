"""Parts: each finished batch is one Parquet file ``parts/STEM/FIRST-LAST``, created exclusively."""

from __future__ import annotations

import io
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fcs.shards.ledger.layout import PARTS, parts_folder
from fcs.shards.store.base import Store

_NAME = re.compile(r"(\d{8})-(\d{8})")
FEATURE = "feature."
# A former commit record, before and after its good results are parts again.
REOPENED, ATTEMPT = "reopened.json", "attempt.json"
_HEAD = [
    ("index", pa.int64()),
    ("key", pa.string()),
    ("shard", pa.string()),
    ("status", pa.string()),
    ("error", pa.string()),
    ("seed", pa.int64()),
    ("nfe", pa.int32()),
    ("seconds", pa.float64()),
    ("residual", pa.float64()),
]
_TAIL = [
    ("course", pa.list_(pa.float32())),
    ("redone", pa.bool_()),
    ("memory", pa.int64()),
    ("host", pa.string()),
    ("attempt", pa.int32()),
]
FIXED = frozenset(name for name, _ in _HEAD + _TAIL)
_MEMBERS = pa.list_(pa.struct([("name", pa.string()), ("data", pa.binary())]))


@dataclass(frozen=True)
class Row:
    """What became of one input record.

    Attributes:
        index: its place in the shard.
        key: its name; None for a shard's torn end.
        error: ``code: detail``, or None where the record is ok.
        seed, nfe, seconds, residual: as in docs/rows.md; None where they do not exist.
        scores: value per score name; what is missing, None or not finite is null in the file.
        members: (name, bytes) for the output tar, in this order; names begin with ``KEY.``.
        features: vector per feature name, stored as fp16.
        memory: bytes; None where it was not measured.
        redone: whether it was sampled again in float32; None where it failed.
        course: the residual at each level, noisiest first; empty where it was not looked at, null in the file then.
    """

    index: int
    key: str | None
    error: str | None = None
    seed: int | None = None
    nfe: int | None = None
    seconds: float | None = None
    residual: float | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    members: tuple[tuple[str, bytes], ...] = ()
    features: dict[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    memory: int | None = None
    course: tuple[float, ...] = ()
    redone: bool | None = None

    @property
    def means(self) -> dict[str, float | None]:
        """What means are taken of: residual and scores."""
        return {"residual": self.residual, **self.scores}


def rows_schema(scores: Iterable[str] = (), features: Iterable[str] = (), members: bool = False) -> pa.Schema:
    """Columns of a row: fixed ones, scores in sorted order, where and in which attempt it was made.

    Parts also have the record's tar members and its features (columns ``feature.NAME``).
    """
    fields = [*_HEAD, *((name, pa.float64()) for name in sorted(scores)), *_TAIL]
    fields += [("members", _MEMBERS)] if members else []
    fields += [(FEATURE + name, pa.list_(pa.float16())) for name in sorted(features)]
    return pa.schema(fields)


def table(
    rows: Sequence[Row],
    stem: str,
    scores: Sequence[str] = (),
    features: Sequence[str] = (),
    host: str = "",
    attempt: int = 1,
) -> pa.Table:
    """The rows of a part."""
    columns: dict[str, list[Any]] = {
        "index": [row.index for row in rows],
        "key": [row.key for row in rows],
        "shard": [stem] * len(rows),
        "status": ["ok" if row.error is None else "failed" for row in rows],
        "error": [row.error for row in rows],
        "seed": [row.seed for row in rows],
        "nfe": [row.nfe for row in rows],
        "seconds": [_finite(row.seconds) for row in rows],
        "residual": [_finite(row.residual) for row in rows],
        "course": [[_finite(value) for value in row.course] or None for row in rows],
        "redone": [row.redone for row in rows],
        "memory": [row.memory for row in rows],
        "host": [host] * len(rows),
        "attempt": [attempt] * len(rows),
        "members": [[{"name": name, "data": data} for name, data in row.members] for row in rows],
    }
    for name in scores:
        columns[name] = [_finite(row.scores.get(name)) for row in rows]
    for name in features:
        columns[FEATURE + name] = [_half(row.features.get(name)) for row in rows]
    return pa.Table.from_pydict(columns, schema=rows_schema(scores, features, members=True))


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


def names(out: Store, stem: str) -> list[str]:
    """Names of a shard's parts in the order in which they count."""
    return in_order(out.names(parts_folder(stem)))


def in_order(found: Iterable[str]) -> list[str]:
    """Those of the names that are parts', in the order in which they count."""
    return sorted(name for name in found if _NAME.fullmatch(name))


def by_shard(listed: Iterable[str]) -> dict[str, list[str]]:
    """The parts among these files below ``parts/``, by STEM, in the order in which they count."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in listed:
        folder, _, last = name.removeprefix(f"{PARTS}/").rpartition("/")
        found[folder].append(last)
    return {stem: in_order(names) for stem, names in found.items()}


def covered(out: Store, stem: str) -> list[tuple[int, int]]:
    """Runs of records (first, last) that parts cover, sorted and disjoint; from the names alone."""
    return joined(names(out, stem))


def joined(part_names: Iterable[str]) -> list[tuple[int, int]]:
    """Runs of records (first, last) that these parts cover, sorted and disjoint."""
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


def missing(runs: Sequence[tuple[int, int]], first: int, stop: int) -> list[int]:
    """Records from ``first`` to before ``stop`` that the runs do not cover."""
    wanted = set(range(first, stop))
    for low, high in runs:
        if low < stop and high >= first:
            wanted.difference_update(range(max(low, first), min(high, stop - 1) + 1))
    return sorted(wanted)


def contiguous(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows sorted and split where an index is left out."""
    runs: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.index):
        if runs and row.index == runs[-1][-1].index + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


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


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _half(value: NDArray[np.floating[Any]] | None) -> NDArray[np.float16] | None:
    return None if value is None else np.asarray(value, dtype=np.float16).reshape(-1)

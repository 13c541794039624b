"""The rows of results: what becomes of each input record, and the columns of the files that hold it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FEATURE = "feature."  # before the name of a feature's column in a part
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
    ("truncated", pa.bool_()),
    ("nothing_to_generate", pa.bool_()),
    ("size", pa.list_(pa.int32())),
    ("crops", pa.list_(pa.list_(pa.int32()))),
    ("memory", pa.int64()),
    ("host", pa.string()),
    ("attempt", pa.int32()),
]
NOTED = ("truncated", "nothing_to_generate")  # columns that say what a user should know of a record
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
        truncated: whether its prompt is longer than the model's text encoder takes; None where it failed.
        nothing_to_generate: whether its mask is black; None where it failed or the task needs no mask.
        size: ``(height, width)`` of the record's picture; None where it failed or has none.
        crops: boxes (left, top, right, bottom) of that picture that the model saw; None where that was all of it.
        notes: codes of ``fcs.core.notes``; they are counted, and not in the file.
        course: the residual at each level, noisiest first; empty where it was not recorded, null in the file then.
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
    truncated: bool | None = None
    nothing_to_generate: bool | None = None
    size: tuple[int, int] | None = None
    crops: Sequence[Sequence[int]] | None = None
    notes: tuple[str, ...] = ()

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
        "truncated": [row.truncated for row in rows],
        "nothing_to_generate": [row.nothing_to_generate for row in rows],
        "size": [row.size for row in rows],
        "crops": [None if row.crops is None else [list(box) for box in row.crops] for row in rows],
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


def contiguous(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows sorted and split where an index is left out."""
    runs: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: row.index):
        if runs and row.index == runs[-1][-1].index + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def infinite_count(rows: pa.Table, name: str) -> int:
    """Of how many results a PSNR is infinite, since their pixels are equal to the reference's.

    Such a PSNR is null in the rows. So is one that does not exist, but then there is no SSIM of the same pixels either.
    """
    other = name.replace("psnr", "ssim", 1)
    if not name.startswith("psnr") or not {name, other} <= set(rows.column_names):
        return 0
    return int(pc.sum(pc.and_(pc.is_null(rows[name]), pc.is_valid(rows[other]))).as_py() or 0)


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _half(value: NDArray[np.floating[Any]] | None) -> NDArray[np.float16] | None:
    return None if value is None else np.asarray(value, dtype=np.float16).reshape(-1)

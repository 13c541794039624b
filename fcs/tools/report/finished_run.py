"""What a run has committed in OUT; everything that a report says is computed from it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fcs.core.errors import StorageError
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.commit_records import read_commits
from fcs.shards.ledger.layout import PARTS, WORKERS, metrics_file
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.store.base import Store, map_threads

COSTS = ("nfe", "seconds", "memory")  # columns that say what a record cost, not how good it is
_BEGUN = pa.schema([(name, pa.string()) for name in ("shard", "key", "error")])
Key = tuple[str, str]  # shard and key, which identify a record


@dataclass(frozen=True)
class FinishedRun:
    """What a run has committed.

    Attributes:
        name: its name in reports of several runs.
        out: its folder.
        pinned: the content of ``run.json``.
        commits: the commit records by STEM, in the run's order.
        rows: the rows of the committed shards, as in their Parquet files.
        begun: rows ``shard, key, error`` of what is in parts of shards that are not committed.
        workers: the content of ``workers/*.json``, oldest process first.
    """

    name: str
    out: Store
    pinned: Mapping[str, Any]
    commits: Mapping[str, Mapping[str, Any]]
    rows: pa.Table
    begun: pa.Table
    workers: tuple[Mapping[str, Any], ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The run's settings by key."""
        return self.pinned.get("settings") or {}

    @cached_property
    def succeeded(self) -> pa.Table:
        """Rows of the records that have a result."""
        return self.rows.filter(pc.equal(self.rows["status"], "ok"))

    @cached_property
    def failed(self) -> pa.Table:
        """``shard, key, error`` of the records that failed, committed or not."""
        committed = self.rows.filter(pc.equal(self.rows["status"], "failed")).select(_BEGUN.names)
        return pa.concat_tables([committed, self.begun.filter(pc.is_valid(self.begun["error"]))])

    @property
    def counts(self) -> tuple[int, int]:
        """Records that have a result and that failed, committed or not."""
        return self.succeeded.num_rows + self.begun["error"].null_count, self.failed.num_rows

    def infinite(self, name: str) -> int:
        """Of how many results a PSNR is infinite."""
        return result_rows.infinite_count(self.succeeded, name)

    @cached_property
    def score_names(self) -> list[str]:
        """Names of all numbers that records have: scores first, then the residual, then costs."""
        names = [name for name in self._columns if self._columns[name]]
        return sorted(names, key=lambda name: (name in COSTS, name == "residual", name))

    def scores(self, name: str) -> dict[Key, float]:
        """A score by record, of the records that have it."""
        return self._columns.get(name, {})

    def score_values(self, name: str) -> NDArray[np.float64]:
        """The same as an array, in the order of the records."""
        return np.fromiter(self.scores(name).values(), np.float64)

    @cached_property
    def _columns(self) -> dict[str, dict[Key, float]]:
        known = set(result_rows.FIXED) - {"residual", *COSTS}
        names = [name for name in self.succeeded.column_names if name not in known and _is_number(self.succeeded[name])]
        keys = list(zip(self.succeeded["shard"].to_pylist(), self.succeeded["key"].to_pylist(), strict=True))
        columns = {name: zip(keys, self.succeeded[name].to_pylist(), strict=True) for name in names}
        return {
            name: {key: float(value) for key, value in column if value is not None and math.isfinite(value)}
            for name, column in columns.items()
        }


def read_finished_run(out: Store, name: str) -> FinishedRun:
    """Read what a run has committed.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be read, or a committed file is missing or damaged.
    """
    pinned = read_run(out)
    commits = read_commits(out, [shard["stem"] for shard in pinned["shards"]])
    tables = map_threads(lambda stem: _rows(out, stem), list(commits))
    rows = pa.concat_tables([result_rows.rows_schema().empty_table(), *tables], promote_options="default")
    begun = _begun(out, [shard["stem"] for shard in pinned["shards"] if shard["stem"] not in commits])
    told = map_threads(out.json, sorted(f"{WORKERS}/{name}" for name in out.names(WORKERS) if name.endswith(".json")))
    workers = sorted((worker for worker in told if worker), key=lambda worker: float(worker.get("started") or 0))
    return FinishedRun(name, out, pinned, commits, rows, begun, tuple(workers))


def _begun(out: Store, stems: Sequence[str]) -> pa.Table:
    listed = parts.by_shard(out.tree(PARTS)) if stems else {}
    found = {stem: parts.outcomes(out, stem, listed[stem]).values() for stem in stems if stem in listed}
    rows = [{"shard": stem, "key": one.key, "error": one.error} for stem, shard in found.items() for one in shard]
    return pa.Table.from_pylist(rows, schema=_BEGUN)


def _rows(out: Store, stem: str) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(out.read(metrics_file(stem))))
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise StorageError(f"{out.where(metrics_file(stem))}: missing or damaged, though it was committed") from error


def _is_number(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(column.type) or pa.types.is_integer(column.type))

"""Means over a run, from what is committed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.errors import StorageError
from fcs.shards import parts
from fcs.shards.commit import committed, is_complete
from fcs.shards.files import storage, to_json, write_replace
from fcs.shards.layout import metrics_file, summary_file
from fcs.shards.run import read_run


def summarize(out: Path) -> dict[str, Any]:
    """``{complete, records: {ok, failed}, metrics: {NAME: {mean, n}}}`` over the committed shards.

    Metrics are the residual and all scores; a mean is over the ok records that have a value, in float64,
    and None where none has.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be read.
    """
    run = read_run(out)
    stems = [shard["stem"] for shard in run["shards"]]
    records = {"ok": 0, "failed": 0}
    sums: dict[str, float] = defaultdict(float)
    numbers: dict[str, int] = defaultdict(int)
    for stem in stems:
        record = committed(out, stem)
        if record is None:
            continue
        for name in records:
            records[name] += record["counts"][name]
        for name, (total, number) in _sums(metrics_file(out, stem)).items():
            sums[name] += total
            numbers[name] += number
    metrics = {
        name: {"mean": sums[name] / numbers[name] if numbers[name] else None, "n": numbers[name]}
        for name in sorted(sums)
    }
    return {"complete": is_complete(out, stems, run.get("limit")), "records": records, "metrics": metrics}


def write_summary(out: Path) -> dict[str, Any]:
    """Write ``summary.json`` and return what it says. Raises as ``summarize``."""
    summary = summarize(out)
    write_replace(summary_file(out), to_json(summary))
    return summary


def failures(out: Path, most: int) -> list[tuple[str, str | None, str]]:
    """The first ``most`` failed records of the committed shards as (shard, key, error)."""
    found: list[tuple[str, str | None, str]] = []
    for shard in read_run(out)["shards"]:
        record = committed(out, shard["stem"])
        if record is None or not record["counts"]["failed"] or len(found) >= most:
            continue
        path = metrics_file(out, shard["stem"])
        rows = _read(path, ["key", "status", "error"])
        for row in rows.filter(pc.equal(rows["status"], "failed")).to_pylist():
            found.append((shard["stem"], row["key"], row["error"]))
    return found[:most]


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        with storage(path):
            return pq.read_table(path, columns=columns)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise StorageError(f"{path}: missing or damaged, though it was committed") from error


def _sums(path: Path) -> dict[str, tuple[float, int]]:
    """Sum and number of values per metric of one shard."""
    rows = _read(path)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    names = [name for name in rows.column_names if name not in parts.FIXED or name == "residual"]
    return {name: (pc.sum(rows[name]).as_py() or 0.0, pc.count(rows[name]).as_py()) for name in names}

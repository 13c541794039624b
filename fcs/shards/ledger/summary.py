"""The summary of a run: means over its committed shards, and its failed records."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.core.errors import StorageError
from fcs.core.intervals import Column, total
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.commit_list import list_commits
from fcs.shards.ledger.commit_records import covers_run, read_commits
from fcs.shards.ledger.layout import PARTS, SUMMARY, metrics_file
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.ledger.totals import in_parts
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store, map_threads


class _Metric(NamedTuple):
    """A metric of one shard: what its mean needs, and how often it is infinite."""

    column: Column
    infinite: int


def summarize(out: Store) -> dict[str, Any]:
    """``{complete, records: {ok, failed}, metrics: {NAME: {mean, n, low, high}}}`` over the committed shards.

    Metrics are the residual and all scores; a mean is over the ok records that have a value, in float64,
    and None where none has. Low and high are its 95 % interval over records, None below two. A PSNR that is infinite
    for some records also has their number, ``infinite``.

    ``notes`` counts the ok records whose prompt was cut off (``truncated``) or whose mask is black
    (``nothing_to_generate``), where there are such.

    Where shards are not committed but in parts, ``in_parts: {ok, failed}`` counts these records.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be read.
    """
    run = read_run(out)
    stems = [shard["stem"] for shard in run["shards"]]
    found = read_commits(out, stems)
    counts = {name: sum(record["counts"][name] for record in found.values()) for name in ("ok", "failed")}
    read = map_threads(lambda stem: _columns(out, stem), list(found))
    shards = [columns for columns, _ in read]
    names = sorted({name for shard in shards for name in shard})
    metrics = {name: _facts([shard[name] for shard in shards if name in shard]) for name in names}
    notes = sum((counted for _, counted in read), Counter())
    summary = {"complete": covers_run(found, stems, run.get("limit")), "records": counts, "metrics": metrics}
    begun = _in_parts(out, [stem for stem in stems if stem not in found])
    return {**summary, **({"notes": dict(notes)} if notes else {}), **({"in_parts": begun} if begun else {})}


def write_summary(out: Store, further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write ``summary.json``, with further entries, and return what it says. Raises as ``summarize``."""
    summary = {**summarize(out), **(further or {})}
    out.replace(SUMMARY, to_json(summary))
    return summary


def failed_records(out: Store, most: int) -> list[tuple[str, str | None, str]]:
    """The first ``most`` failed records of the committed shards as (shard, key, error)."""
    found: list[tuple[str, str | None, str]] = []
    run = read_run(out)
    stems = [shard["stem"] for shard in run["shards"]]
    for stem, record in list_commits(out, stems, str(run.get("fingerprint"))).records.items():
        if not record["counts"]["failed"] or len(found) >= most:
            continue
        rows = _read(out, stem, ["key", "status", "error"])
        for row in rows.filter(pc.equal(rows["status"], "failed")).to_pylist():
            found.append((stem, row["key"], row["error"]))
    return found[:most]


def _read(out: Store, stem: str, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(out.read(metrics_file(stem))), columns=columns)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise StorageError(f"{out.where(metrics_file(stem))}: missing or damaged, though it was committed") from error


def _columns(out: Store, stem: str) -> tuple[dict[str, _Metric], Counter[str]]:
    """The metrics of one shard, and how many of its records have which note."""
    rows = _read(out, stem)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    names = [name for name in rows.column_names if name not in result_rows.FIXED or name == "residual"]
    columns = {name: Column.of(rows[name].drop_null().to_pylist()) for name in names}
    metrics = {name: _Metric(column, result_rows.infinite_count(rows, name)) for name, column in columns.items()}
    notes = {name: int(pc.sum(rows[name]).as_py() or 0) for name in result_rows.NOTED if name in rows.column_names}
    return metrics, +Counter(notes)


def _facts(pieces: Sequence[_Metric]) -> dict[str, float | int | None]:
    infinite = sum(piece.infinite for piece in pieces)
    return {**total([piece.column for piece in pieces]).facts(), **({"infinite": infinite} if infinite else {})}


def _in_parts(out: Store, stems: Sequence[str]) -> dict[str, int]:
    """Records ok and failed in the parts of these shards; empty where there are none."""
    begun = parts.by_shard(out.tree(PARTS)) if stems else {}
    counts = [in_parts(out, stem, begun[stem]) for stem in stems if begun.get(stem)]
    ok, failed = (sum(count[place] for count in counts) for place in (0, 1))
    return {"ok": ok, "failed": failed} if ok or failed else {}

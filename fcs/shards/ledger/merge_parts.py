"""Merging the parts of one shard into its tar, features, metrics and commit record: a pure function of the parts.

``commit_shard`` decides when, and what is deleted afterwards.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.layout import commit_file, features_file, metrics_file, tar_file
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store, prefetch
from fcs.shards.store.tar_writer import TarWriter

log = logging.getLogger("fcs.shards")


def merge_parts(
    out: Store,
    stem: str,
    part_names: Sequence[str],
    count: int,
    fingerprint: str,
    info: dict[str, Any],
    scores: Sequence[str],
    features: Sequence[str],
) -> None:
    """Write tar, features, metrics and commit record of a shard from these parts.

    The arguments are those of ``commit_shard``, but ``part_names``: the parts to merge.

    Raises:
        FileNotFoundError: another process has committed the shard meanwhile.
        StorageError: OUT cannot be read or written.
    """
    started = time.time()
    tables: list[pa.Table] = []
    written: dict[str, _Hashed] = {}
    with (
        _output(out, stem, tar_file(stem), written) as file,
        TarWriter(cast(BinaryIO, file)) as tar,
    ):
        for part in _in_order(out, stem, part_names):
            for members in part["members"].to_pylist():
                for member in members or ():
                    tar.write(member["name"], member["data"])
            tables.append(part.drop_columns(["members"]))
    rows = _all_rows(tables, scores, features)
    if rows.num_rows != count:
        raise RuntimeError(f"{stem}: {rows.num_rows} rows merged, {count} records expected")
    _write_features(out, stem, rows, written)
    rows = rows.drop_columns([name for name in rows.column_names if name.startswith(result_rows.FEATURE)])
    _write_table(out, stem, metrics_file(stem), rows, written)
    if not count:
        log.warning("%s: the shard holds no records; it is committed without rows", stem)
    record = {
        "shard": stem,
        "counts": _counts(rows),
        "failures": _failures(rows),
        "files": {name: {"bytes": file.size, "sha256": file.hash.hexdigest()} for name, file in written.items()},
        "fingerprint": fingerprint,
        **info,
        "timings": {
            "sampling_seconds": pc.sum(rows["seconds"]).as_py() or 0.0,
            "merge_seconds": time.time() - started,
            "committed": time.time(),
        },
        "attempt": parts.attempt(out, stem),
    }
    out.create(commit_file(stem), to_json(record))


def _in_order(out: Store, stem: str, part_names: Sequence[str]) -> Iterator[pa.Table]:
    """Rows part by part; where parts overlap, those of the first by name are taken."""
    wanted: list[tuple[str, int]] = []
    done = 0
    for name in sorted(part_names):
        first, last = parts.span(name)
        if last >= done:
            wanted.append((name, max(0, done - first)))
            done = last + 1
    return prefetch(lambda part: parts.read(out, stem, part[0]).slice(part[1]), wanted)


def _all_rows(tables: list[pa.Table], scores: Sequence[str], features: Sequence[str]) -> pa.Table:
    rows = pa.concat_tables(
        [result_rows.rows_schema(scores, features).empty_table(), *tables], promote_options="default"
    )
    has = [name for name in rows.column_names if name.startswith(result_rows.FEATURE)]
    named = [name for name in rows.column_names if name not in result_rows.FIXED and name not in has]
    return rows.select(result_rows.rows_schema(named, [name.removeprefix(result_rows.FEATURE) for name in has]).names)


def _write_features(out: Store, stem: str, rows: pa.Table, written: dict[str, _Hashed]) -> None:
    for column in [name for name in rows.column_names if name.startswith(result_rows.FEATURE)]:
        name = features_file(column.removeprefix(result_rows.FEATURE), stem)
        chosen = rows.filter(pc.is_valid(rows[column])).select(["index", "key", column])
        _write_table(out, stem, name, chosen.rename_columns(["index", "key", "feature"]), written)


def _write_table(out: Store, stem: str, name: str, rows: pa.Table, written: dict[str, _Hashed]) -> None:
    """Without rows also without a row group: some readers take the size of the first one for that of their batches."""
    with _output(out, stem, name, written) as file, pq.ParquetWriter(file, rows.schema) as writer:
        if rows.num_rows:
            writer.write_table(rows.combine_chunks())


class _Hashed(io.RawIOBase):
    """Counts and hashes what is written through it, so that a result need not be read back from the store."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file, self.size, self.hash = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any, /) -> int:
        self.file.write(data)
        self.hash.update(data)
        size = memoryview(data).nbytes
        self.size += size
        return size


@contextmanager
def _output(out: Store, stem: str, name: str, written: dict[str, _Hashed]) -> Iterator[_Hashed]:
    """``replacing`` that refuses, as late as can be, to replace a file of a committed shard."""
    with out.replacing(name) as file:
        written[name] = _Hashed(file)
        yield written[name]
        if out.exists(commit_file(stem)):
            raise FileNotFoundError(f"{stem} was committed by another process")


def _counts(rows: pa.Table) -> dict[str, int]:
    ok = int(pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0)
    return {"records": rows.num_rows, "ok": ok, "failed": rows.num_rows - ok}


def _failures(rows: pa.Table) -> dict[str, int]:
    errors = rows["error"].drop_null().to_pylist()
    return dict(sorted(Counter(error.partition(":")[0] for error in errors).items()))

"""The merge: from parts to tar, features, metrics and commit record, a pure function of the parts."""

from __future__ import annotations

import io
import logging
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.shards import parts
from fcs.shards.files import replacing, sha256, to_json, write_exclusive
from fcs.shards.layout import commit_file, features_file, metrics_file, tar_file

log = logging.getLogger("fcs.shards")


def merge(
    out: Path,
    stem: str,
    part_names: Sequence[str],
    count: int,
    fingerprint: str,
    info: dict[str, Any],
    scores: Sequence[str],
    features: Sequence[str],
) -> None:
    """Write tar, features, metrics and commit record of a shard from these parts."""
    started = time.time()
    tables: list[pa.Table] = []
    with (
        _output(out, stem, tar_file(out, stem)) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for part in _in_order(out, stem, part_names):
            for members in part["members"].to_pylist():
                _add(tar, members or [])
            tables.append(part.drop_columns(["members"]))
    rows = _joined(tables, scores, features)
    if rows.num_rows != count:
        raise RuntimeError(f"{stem}: {rows.num_rows} rows merged, {count} records expected")
    written = [tar_file(out, stem), *_write_features(out, stem, rows)]
    rows = rows.drop_columns([name for name in rows.column_names if name.startswith(parts.FEATURE)])
    _write_table(out, stem, metrics_file(out, stem), rows)
    written.append(metrics_file(out, stem))
    if not count:
        log.warning("%s: the shard holds no records; it is committed without rows", stem)
    record = {
        "shard": stem,
        "counts": _counts(rows),
        "failures": _failures(rows),
        "files": {
            path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in written
        },
        "fingerprint": fingerprint,
        **info,
        "timings": {
            "sampling_seconds": pc.sum(rows["seconds"]).as_py() or 0.0,
            "merge_seconds": time.time() - started,
            "committed": time.time(),
        },
        "attempt": parts.attempt(out, stem),
    }
    write_exclusive(commit_file(out, stem), to_json(record))


def _in_order(out: Path, stem: str, part_names: Sequence[str]) -> Iterator[pa.Table]:
    """Rows part by part; where parts overlap the first by name counts."""
    done = 0
    for name in sorted(part_names):
        first, last = parts.span(name)
        if last >= done:
            yield parts.read(out, stem, name).slice(max(0, done - first))
            done = last + 1


def _add(tar: tarfile.TarFile, members: list[dict[str, Any]]) -> None:
    """WebDataset's conventions with fixed metadata: bytes depend on names and contents only."""
    for member in members:
        info = tarfile.TarInfo(member["name"])
        info.size, info.mtime, info.mode = len(member["data"]), 0, 0o444
        info.uname = info.gname = "bigdata"
        tar.addfile(info, io.BytesIO(member["data"]))


def _joined(tables: list[pa.Table], scores: Sequence[str], features: Sequence[str]) -> pa.Table:
    rows = pa.concat_tables([parts.rows_schema(scores, features).empty_table(), *tables], promote_options="default")
    has = [name for name in rows.column_names if name.startswith(parts.FEATURE)]
    named = [name for name in rows.column_names if name not in parts.FIXED and name not in has]
    return rows.select(parts.rows_schema(named, [name.removeprefix(parts.FEATURE) for name in has]).names)


def _write_features(out: Path, stem: str, rows: pa.Table) -> list[Path]:
    written = []
    for column in [name for name in rows.column_names if name.startswith(parts.FEATURE)]:
        path = features_file(out, column.removeprefix(parts.FEATURE), stem)
        chosen = rows.filter(pc.is_valid(rows[column])).select(["index", "key", column])
        _write_table(out, stem, path, chosen.rename_columns(["index", "key", "feature"]))
        written.append(path)
    return written


def _write_table(out: Path, stem: str, path: Path, rows: pa.Table) -> None:
    with _output(out, stem, path) as file:
        pq.write_table(rows.combine_chunks(), file)


@contextmanager
def _output(out: Path, stem: str, path: Path) -> Iterator[BinaryIO]:
    """``replacing`` that refuses, as late as can be, to replace a file of a committed shard."""
    with replacing(path) as file:
        yield file
        if commit_file(out, stem).exists():
            raise FileNotFoundError(f"{stem} was committed by another process")


def _counts(rows: pa.Table) -> dict[str, int]:
    ok = int(pc.sum(pc.equal(rows["status"], "ok")).as_py() or 0)
    return {"records": rows.num_rows, "ok": ok, "failed": rows.num_rows - ok}


def _failures(rows: pa.Table) -> dict[str, int]:
    errors = rows["error"].drop_null().to_pylist()
    return dict(sorted(Counter(error.partition(":")[0] for error in errors).items()))

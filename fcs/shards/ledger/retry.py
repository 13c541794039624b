"""Trying failed records again: a committed shard is reopened, and its good results become parts again.

One step decides: the commit record is moved to the shard's parts folder. Afterwards tar and metrics stay as they are
until the next merge, and any process may make parts of them, as often as need be. A store that cannot rename copies the
record and then deletes it; a process that finds both deletes the record (``clean_up``).
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.shards.input.record_index import split_name
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.commit_records import files_match, read_commits
from fcs.shards.ledger.commit_shard import clean_up
from fcs.shards.ledger.layout import (
    RUN,
    SUMMARY,
    WORKERS,
    commit_file,
    features_file,
    metrics_file,
    parts_folder,
    tar_file,
)
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.store.atomic_files import to_json
from fcs.shards.store.base import Store

LAUNCH = "FCS_LAUNCH"  # a name that all processes of one launch share, where SLURM is not the launcher
_PART_ROWS = 64


def retry_failed(out: Store, before: float | None = None) -> list[str]:
    """Reopen each committed shard that has failed records; their next attempt counts one more.

    Args:
        out: the run's store.
        before: shards committed at this time or later (seconds since the epoch) are left alone, so that
            processes which start late do not retry what this launch has just retried.

    Returns:
        STEMs of the shards that this process reopened.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be written.
    """
    found = []
    stems = [shard["stem"] for shard in read_run(out)["shards"]]
    out.probe(RUN)
    for stem, record in read_commits(out, stems).items():
        late = before is not None and record["timings"]["committed"] >= before
        if record["counts"]["failed"] and not late and reopen(out, stem):
            found.append(stem)
    return found


def launched(out: Store) -> float | None:
    """When the first process of this launch started on the run; None where nothing names the launch.

    A launch is what ``FCS_LAUNCH`` names, else a SLURM step in all tasks of its job array.

    All of them ask for the same retry, so what one of them has tried again is not tried once more by the next.

    Raises:
        StorageError: OUT cannot be written.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    step = os.environ.get("SLURM_STEP_ID")
    launch = os.environ.get(LAUNCH) or (f"{job}.{step}" if job and step else None)
    if launch is None:
        return None
    name = f"{WORKERS}/{launch}.retry"
    out.create(name, to_json({"launched": time.time()}))
    return float((out.json(name) or {}).get("launched", 0.0))


def reopen(out: Store, stem: str) -> bool:
    """Take back a shard's commit record; False where another process was first."""
    clean_up(out, stem)  # what a killed process left must not become part of the new attempt
    out.delete(SUMMARY)
    return out.move(commit_file(stem), f"{parts_folder(stem)}/{parts.REOPENED}")


def expand(out: Store, stem: str) -> None:
    """Write the good results of a reopened shard as parts, unless that is done already.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    reopened, begun = (f"{parts_folder(stem)}/{name}" for name in (parts.REOPENED, parts.ATTEMPT))
    record = out.json(reopened)
    if record is None:
        return
    if files_match(out, record):  # otherwise everything is computed again
        for part in _good_results(out, stem, record):
            parts.write(out, stem, part)
    out.move(reopened, begun)


def _good_results(out: Store, stem: str, record: dict[str, Any]) -> Iterator[pa.Table]:
    rows = pq.read_table(io.BytesIO(out.read(metrics_file(stem))))
    rows = _with_features(out, stem, record, rows)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    indexes = rows["index"].to_pylist()
    with out.reading(tar_file(stem)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        groups = groupby(tar, key=lambda info: split_name(info.name)[0])
        group = next(groups, None)
        for first, stop in _ranges(indexes):
            group_rows = rows.slice(first, stop - first)
            members: list[list[dict[str, Any]]] = []
            for key in group_rows["key"].to_pylist():
                members.append([])
                if group is not None and group[0] == key:
                    members[-1] = [{"name": info.name, "data": _data(tar, info)} for info in group[1]]
                    group = next(groups, None)
            yield _with_members(group_rows, members)


def _ranges(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges (first, stop) of places whose indexes are contiguous, short enough to be held in memory."""
    first = 0
    for place in range(1, len(indexes) + 1):
        full = place - first == _PART_ROWS
        if place == len(indexes) or full or indexes[place] != indexes[place - 1] + 1:
            yield first, place
            first = place


def _data(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return b"" if file is None else file.read()


def _with_members(rows: pa.Table, members: list[list[dict[str, Any]]]) -> pa.Table:
    kind = result_rows.rows_schema(members=True).field("members")
    return rows.append_column(kind, pa.array(members, type=kind.type))


def _with_features(out: Store, stem: str, record: dict[str, Any], rows: pa.Table) -> pa.Table:
    for name in record["files"]:
        if not name.startswith("features/"):
            continue
        feature = name.removeprefix("features/").removesuffix(f"/{stem}.parquet")
        columns = pq.read_table(io.BytesIO(out.read(features_file(feature, stem)))).to_pydict()
        values = dict(zip(columns["index"], columns["feature"], strict=True))
        kind = result_rows.rows_schema(features=[feature]).field(result_rows.FEATURE + feature)
        column = [values.get(index) for index in rows["index"].to_pylist()]
        rows = rows.append_column(kind, pa.array(column, type=kind.type))
    return rows

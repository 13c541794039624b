"""Trying failed records again: a committed shard becomes parts of its good results.

The one step that decides is the rename of the commit record into the shard's parts folder. After it, tar and
metrics stay as they are until the next merge, and any process may turn them into parts, again and again.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fcs.shards import parts
from fcs.shards.commit import clean, committed, intact
from fcs.shards.files import read_json, storage, sync_folder
from fcs.shards.layout import commit_file, features_file, metrics_file, parts_folder, summary_file, tar_file
from fcs.shards.run import read_run
from fcs.shards.tars import split

_PART_ROWS = 64


def retry_failed(out: Path, before: float | None = None) -> list[str]:
    """Reopen each committed shard that has failed records; their next attempt counts one more.

    Args:
        out: folder of the run.
        before: shards committed at this time or later (seconds since the epoch) are left alone, so that
            processes which start late do not retry what this launch has just retried.

    Returns:
        STEMs of the shards that this process reopened.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be written.
    """
    found = []
    for shard in read_run(out)["shards"]:
        record = committed(out, shard["stem"])
        if record is None or not record["counts"]["failed"]:
            continue
        if (before is None or record["timings"]["committed"] < before) and reopen(out, shard["stem"]):
            found.append(shard["stem"])
    return found


def reopen(out: Path, stem: str) -> bool:
    """Take a shard's commit record back; False where another process was first."""
    clean(out, stem)  # what a killed process left must not count as part of the new attempt
    folder = parts_folder(out, stem)
    with storage(folder):
        with suppress(FileNotFoundError):
            os.unlink(summary_file(out))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(commit_file(out, stem), folder / parts.REOPENED)
        except FileNotFoundError:
            return False
        sync_folder(folder)
        sync_folder(commit_file(out, stem).parent)
    return True


def expand(out: Path, stem: str) -> None:
    """Write the parts of a reopened shard's good results, if that is still to be done.

    Raises:
        StorageError: OUT cannot be read or written.
    """
    folder = parts_folder(out, stem)
    record = read_json(folder / parts.REOPENED)
    if record is None:
        return
    if intact(out, record):  # otherwise all is computed again
        for part in _good_results(out, stem, record):
            parts.write(out, stem, part)
    with storage(folder), suppress(FileNotFoundError):
        os.rename(folder / parts.REOPENED, folder / parts.ATTEMPT)


def _good_results(out: Path, stem: str, record: dict[str, Any]) -> Iterator[pa.Table]:
    with storage(metrics_file(out, stem)):
        rows = pq.read_table(metrics_file(out, stem))
    rows = _with_features(out, stem, record, rows)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    indexes = rows["index"].to_pylist()
    with storage(tar_file(out, stem)), tarfile.open(tar_file(out, stem), "r:") as tar:
        groups = groupby(tar, key=lambda info: split(info.name)[0])
        group = next(groups, None)
        for first, stop in _runs(indexes):
            run = rows.slice(first, stop - first)
            members: list[list[dict[str, Any]]] = []
            for key in run["key"].to_pylist():
                members.append([])
                if group is not None and group[0] == key:
                    members[-1] = [{"name": info.name, "data": _data(tar, info)} for info in group[1]]
                    group = next(groups, None)
            yield _with_members(run, members)


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Places (first, stop) of contiguous indexes, few enough to be held in memory."""
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
    kind = parts.rows_schema(members=True).field("members")
    return rows.append_column(kind, pa.array(members, type=kind.type))


def _with_features(out: Path, stem: str, record: dict[str, Any], rows: pa.Table) -> pa.Table:
    for name in record["files"]:
        if not name.startswith("features/"):
            continue
        feature = name.removeprefix("features/").removesuffix(f"/{stem}.parquet")
        with storage(features_file(out, feature, stem)):
            columns = pq.read_table(features_file(out, feature, stem)).to_pydict()
        values = dict(zip(columns["index"], columns["feature"], strict=True))
        kind = parts.rows_schema(features=[feature]).field(parts.FEATURE + feature)
        column = [values.get(index) for index in rows["index"].to_pylist()]
        rows = rows.append_column(kind, pa.array(column, type=kind.type))
    return rows

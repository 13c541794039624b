"""Compares every committed file with its commit record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from fcs.shards.ledger.commit_records import read_commit, read_commits
from fcs.shards.ledger.layout import SHARDS, commit_file
from fcs.shards.store.base import Store
from fcs.tools.status.read_status import pinned_run


def verify(out: Store) -> tuple[int, list[str]]:
    """Hash all committed files; safe while the run goes on.

    Returns:
        The number of files, and a line for each that differs from what was committed.

    Raises:
        UsageError: OUT has no pinned run.
        OSError: OUT cannot be read.
    """
    count, differ = 0, []
    stems = [shard["stem"] for shard in pinned_run(out)["shards"]]
    listed = out.tree(SHARDS)
    done = read_commits(out, stems, listed)
    for stem in [stem for stem in stems if commit_file(stem) in listed]:
        record = done.get(stem)
        if record is None:
            if read_commit(out, stem) is None and out.exists(commit_file(stem)):
                differ.append(f"{commit_file(stem)}: no commit record can be read from it")
            continue
        found = list(_differences(out, record))
        # A shard that is being computed again is not damaged: its commit record is gone or another one.
        if found and read_commit(out, stem) == record:
            differ += found
        count += len(record["files"])
    return count, differ


def _differences(out: Store, record: Mapping[str, Any]) -> Iterator[str]:
    for name, file in record["files"].items():
        try:
            with out.reading(name) as data:
                size = data.seek(0, 2)
                data.seek(0)
                if size != file["bytes"]:
                    yield f"{name}: {size} bytes, committed were {file['bytes']}"
                elif hashlib.file_digest(data, "sha256").hexdigest() != file["sha256"]:
                    yield f"{name}: another sha256 than was committed"
        except FileNotFoundError:
            yield f"{name}: missing"

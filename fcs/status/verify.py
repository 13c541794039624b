"""Every committed file against its commit record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fcs.status.read import commit, pinned


def verify(out: Path) -> tuple[int, list[str]]:
    """Hash all committed files; safe while the run goes on.

    Returns:
        How many files were looked at, and a line for each that is not as it was committed.

    Raises:
        UsageError: OUT has no pinned run.
        OSError: OUT cannot be read.
    """
    count, differ = 0, []
    for shard in pinned(out)["shards"]:
        stem = shard["stem"]
        record = commit(out, stem)
        if record is None:
            if (out / "shards" / f"{stem}.json").exists() and commit(out, stem) is None:
                differ.append(f"shards/{stem}.json: no commit record can be read from it")
            continue
        found = list(_differences(out, record))
        # A shard that is tried again meanwhile is not damaged: its commit record is gone, or another one.
        if found and commit(out, stem) == record:
            differ += found
        count += len(record["files"])
    return count, differ


def _differences(out: Path, record: Mapping[str, Any]) -> Iterator[str]:
    for name, file in record["files"].items():
        try:
            with open(out / name, "rb") as data:
                size = data.seek(0, 2)
                data.seek(0)
                if size != file["bytes"]:
                    yield f"{name}: {size} bytes, committed were {file['bytes']}"
                elif hashlib.file_digest(data, "sha256").hexdigest() != file["sha256"]:
                    yield f"{name}: another sha256 than was committed"
        except FileNotFoundError:
            yield f"{name}: missing"

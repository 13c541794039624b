"""A small tar read at once: shipped samples, and the results of short runs."""

from __future__ import annotations

import tarfile
from pathlib import Path


def members_by_key(path: Path) -> dict[str, dict[str, bytes]]:
    """The files of a shard by key and suffix, in their order. For shards that are trusted, and fit into memory."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            if file is not None:
                found.setdefault(key, {})[suffix] = file.read()
    return found

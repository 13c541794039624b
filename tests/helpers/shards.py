"""Shards as WebDataset reads them."""

from __future__ import annotations

import tarfile
from pathlib import Path


def samples(path: Path) -> dict[str, dict[str, bytes]]:
    """Members of a shard by key and suffix."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            found.setdefault(key, {})[suffix] = file.read()
    return found

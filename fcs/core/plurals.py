"""Numbers of things, as people say them."""

from __future__ import annotations


def count_of(number: int, thing: str) -> str:
    """``1 shard``, ``2 shards``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"

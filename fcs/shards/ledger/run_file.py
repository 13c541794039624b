"""What ``run.json`` must hold; apart from the code that pins runs, whose libraries take seconds to import."""

from __future__ import annotations

from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.ledger.layout import RUN
from fcs.shards.store.base import Store


def names_shards(run: dict[str, Any] | None) -> bool:
    """Whether the content of a ``run.json``, None for damage, lists shards as ours do."""
    shards = None if run is None else run.get("shards")
    return isinstance(shards, list) and all(isinstance(shard, dict) and "stem" in shard for shard in shards)


def not_ours(key: str, out: Store) -> UsageError:
    """The refusal of an OUT whose ``run.json`` is no run's, by the key or argument that names it."""
    return UsageError.of(key, out, f"a folder of ours; {out.where(RUN)} is damaged, or another program's")

"""How many records of a run are done, from the commit records and the parts of all processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fcs.shards.input.sources import Source, listed_sizes
from fcs.shards.ledger import parts
from fcs.shards.ledger.commit_list import committed_since
from fcs.shards.ledger.layout import PARTS
from fcs.shards.store.base import Store


class Totals(NamedTuple):
    """Records that are done, and how many there are in all; None where that is not known yet."""

    ok: int
    failed: int
    total: int | None


def totals(
    out: Store,
    sources: Sequence[Source],
    limit: int | None = None,
    known: Mapping[int, int] | None = None,
    committed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Totals:
    """Records done so far over all processes, committed or in parts, and how many there are in all.

    Args:
        out: the run's store.
        sources: its shards.
        limit: first N records over the list.
        known: rows of the shards that were opened, by number; of the others ``sizes.json`` is believed.
        committed: commit records, or what is known of them, that need not be read.

    Raises:
        StorageError: OUT cannot be read.
    """
    ok = failed = 0
    sizes = listed_sizes(sources)
    # The parts first: a shard that is committed in between is then seen in at least one of the two.
    begun = parts.by_shard(out.tree(PARTS))
    done = committed_since(out, [source.stem for source in sources], committed or {})
    for number, source in enumerate(sources):
        if source.stem in done:
            good, bad = done[source.stem]["counts"]["ok"], done[source.stem]["counts"]["failed"]
            sizes[number] = good + bad
        else:
            good, bad = in_parts(out, source.stem, begun.get(source.stem, []))
            sizes[number] = (known or {}).get(number, sizes[number])
        ok, failed = ok + good, failed + bad
    certain = [size for size in sizes if size is not None]
    total = sum(certain) if len(certain) == len(sizes) else None
    if limit is not None and sum(certain) >= limit:
        total = limit
    return Totals(ok, failed, total)


def in_parts(out: Store, stem: str, names: Sequence[str]) -> tuple[int, int]:
    """Records ok and failed of a shard that is not committed."""
    found = parts.outcomes(out, stem, names).values()
    failed = sum(one.error is not None for one in found)
    return len(found) - failed, failed

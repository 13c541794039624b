"""What the ledger of a run asks of a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Operations, as the store's meter counts them, and seconds here.

    Attributes:
        start, committed: of a process's start; more for each shard that is committed then.
        learn: of learning by a listing what others have committed, for each shard of the run.
        met: of finding out, without a listing, that another process has committed a shard.
        slice, part: of taking and giving back a slice; of writing a batch.
        shard, merged: of committing a shard; more for each of its parts.
        look: at a shard in which others have all that is to do.
        slice_seconds, part_seconds, shard_seconds, list_seconds: of one; of listing 1000 files.
        merge: seconds to merge a record into its shard, and to write it there.
    """

    start: float = 0.0
    committed: float = 0.0
    learn: float = 0.0
    met: float = 0.0
    slice: float = 0.0
    part: float = 0.0
    shard: float = 0.0
    merged: float = 0.0
    look: float = 0.0
    slice_seconds: float = 0.0
    part_seconds: float = 0.0
    shard_seconds: float = 0.0
    list_seconds: float = 0.0
    merge: float = 0.0

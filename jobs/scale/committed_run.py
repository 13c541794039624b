"""A run of any size that is committed, written without computing it: what a restart finds."""

from __future__ import annotations

from collections.abc import Callable

from fcs.shards.input.sources import Source
from fcs.shards.ledger.layout import RUN, commit_file, metrics_file, tar_file
from fcs.shards.ledger.pinned_run import describe
from fcs.shards.store.atomic_files import to_json

COMMITTED = 1.7e9  # seconds since the epoch: long enough ago to be looked at
CONTENT = b"result"
VERSIONS = dict.fromkeys(("fcs", "torch", "lightning", "diffusers", "transformers", "pillow"), "0.0")


def committed_run(
    put: Callable[[str, bytes], object], committed: int, more: int = 0, records: int = 1000
) -> list[Source]:
    """Write the files of committed shards, which hold next to nothing; returns all shards of the run.

    Args:
        put: writes one file, by its name below OUT.
        committed: number of shards that are.
        more: shards after them that nobody has begun.
        records: of each shard.
    """
    sources = [Source(f"/in/{number:06d}.tar", f"{number:06d}", 1, 1.0) for number in range(committed + more)]
    run = describe({}, sources, None)
    put(RUN, to_json(run))
    for source in sources[:committed]:
        names = (tar_file(source.stem), metrics_file(source.stem))
        record = {
            "shard": source.stem,
            "counts": {"records": records, "ok": records, "failed": 0},
            "failures": {},
            "files": {name: {"bytes": len(CONTENT), "sha256": "0" * 64} for name in names},
            "fingerprint": run["fingerprint"],
            "versions": VERSIONS,
            "card": "cpu",
            "timings": {"sampling_seconds": 1.0, "merge_seconds": 1.0, "committed": COMMITTED},
            "attempt": 1,
        }
        for name in names:
            put(name, CONTENT)
        put(commit_file(source.stem), to_json(record))
    return sources

"""Where things are below OUT. STEM may contain folders (``a/b``)."""

from __future__ import annotations

from pathlib import Path


def run_file(out: Path) -> Path:
    """The pinned run."""
    return out / "run.json"


def summary_file(out: Path) -> Path:
    """Means over all committed shards."""
    return out / "summary.json"


def tar_file(out: Path, stem: str) -> Path:
    """Results of a shard."""
    return out / "shards" / f"{stem}.tar"


def commit_file(out: Path, stem: str) -> Path:
    """Commit record of a shard: the shard counts as done when this exists."""
    return out / "shards" / f"{stem}.json"


def metrics_file(out: Path, stem: str) -> Path:
    """One row per input record."""
    return out / "metrics" / f"{stem}.parquet"


def features_file(out: Path, name: str, stem: str) -> Path:
    """One feature per result."""
    return out / "features" / name / f"{stem}.parquet"


def parts_folder(out: Path, stem: str) -> Path:
    """Finished batches of a shard that is not committed yet."""
    return out / "parts" / stem


def claims_folder(out: Path, stem: str) -> Path:
    """Taken slices of a shard that is not committed yet."""
    return out / "claims" / stem


def worker_file(out: Path, worker: str) -> Path:
    """Heartbeat and totals of one process."""
    return out / "workers" / f"{worker}.json"

"""The names of all files below OUT. STEM may contain folders (``a/b``)."""

from __future__ import annotations

RUN = "run.json"  # the pinned run
DIFFERENCE = "difference.json"  # perturbations that were measured for 16 bits, by t
COMMITS = "commits.json"  # what the commit records say, as a hint
SUMMARY = "summary.json"  # means over all committed shards
PAGE = "report.html"  # what fcs-report makes of it
SHARDS, METRICS, FEATURES = "shards", "metrics", "features"
PARTS, CLAIMS, WORKERS, PREVIEWS = "parts", "claims", "workers", "previews"


def tar_file(stem: str) -> str:
    """Results of a shard."""
    return f"{SHARDS}/{stem}.tar"


def commit_file(stem: str) -> str:
    """Commit record of a shard: the shard counts as done when this exists."""
    return f"{SHARDS}/{stem}.json"


def metrics_file(stem: str) -> str:
    """One row per input record."""
    return f"{METRICS}/{stem}.parquet"


def features_file(name: str, stem: str) -> str:
    """One feature per result."""
    return f"{FEATURES}/{name}/{stem}.parquet"


def parts_folder(stem: str) -> str:
    """Finished batches of a shard that is not committed yet."""
    return f"{PARTS}/{stem}"


def claims_folder(stem: str) -> str:
    """Claimed slices of a shard that is not committed yet."""
    return f"{CLAIMS}/{stem}"


def worker_file(worker: str) -> str:
    """Heartbeat and totals of one process."""
    return f"{WORKERS}/{worker}.json"

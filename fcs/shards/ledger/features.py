"""Features of the committed shards, read shard by shard."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fcs.core.errors import StorageError
from fcs.shards.ledger.commit_records import read_commits
from fcs.shards.ledger.layout import FEATURES, features_file
from fcs.shards.ledger.pinned_run import read_run
from fcs.shards.store.base import Store, prefetch


@dataclass(frozen=True)
class ShardFeatures:
    """A shard's features.

    Attributes:
        stem: the shard.
        indexes: ``(N,)``, each record's place in it.
        values: ``(N, F)``.
    """

    stem: str
    indexes: NDArray[np.int64]
    values: NDArray[np.float16]


def feature_counts(out: Store) -> dict[str, dict[str, int]]:
    """By the name of the features: how many results each committed shard has them of, in the order of the shards.

    Raises:
        UsageError: OUT has no pinned run.
        StorageError: OUT cannot be read.
    """
    found: dict[str, dict[str, int]] = {}
    for stem, record in read_commits(out, [shard["stem"] for shard in read_run(out)["shards"]]).items():
        for name in _names(stem, record):
            found.setdefault(name, {})[stem] = int(record["counts"]["ok"])
    return found


def read_features(out: Store, name: str, stems: Iterable[str]) -> Iterator[ShardFeatures]:
    """Features of some shards, one by one, the next prefetched. Shards without results are left out.

    Raises:
        StorageError: a file is missing or damaged.
    """
    for piece in prefetch(lambda stem: _piece(out, name, stem), stems):
        if len(piece.indexes):
            yield piece


def _names(stem: str, record: Mapping[str, Any]) -> Iterator[str]:
    for file in record["files"]:
        if file.startswith(f"{FEATURES}/") and file.endswith(f"/{stem}.parquet"):
            yield file.removeprefix(f"{FEATURES}/").removesuffix(f"/{stem}.parquet")


def _piece(out: Store, name: str, stem: str) -> ShardFeatures:
    file = features_file(name, stem)
    try:
        table = pq.read_table(io.BytesIO(out.read(file)), columns=["index", "feature"])
        flat = table["feature"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return ShardFeatures(stem, table["index"].to_numpy(), flat.reshape(table.num_rows, -1 if table.num_rows else 0))
    except (FileNotFoundError, pa.ArrowInvalid, ValueError) as error:
        raise StorageError(f"{out.where(file)}: missing or damaged, though it was committed") from error

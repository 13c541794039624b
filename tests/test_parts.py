"""Parts: created once, named by the records they cover."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.parts import row, write

from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.commit_shard import commit_shard
from fcs.shards.ledger.result_rows import rows_schema
from fcs.shards.store.local import LocalStore


def test_a_part_is_created_once_and_covers_a_run(tmp_path: Path) -> None:
    assert write(tmp_path, "d/s", row(4), row(5))
    assert not write(tmp_path, "d/s", row(4), row(5, "other: x"))
    assert write(tmp_path, "d/s", row(0), row(1))
    assert write(tmp_path, "d/s", row(1), row(2))
    assert parts.names(LocalStore(tmp_path), "d/s") == ["00000000-00000001", "00000001-00000002", "00000004-00000005"]
    assert parts.covered_ranges(LocalStore(tmp_path), "d/s") == [(0, 2), (4, 5)]
    assert parts.missing_records(parts.covered_ranges(LocalStore(tmp_path), "d/s"), 1, 8) == [3, 6, 7]
    with pytest.raises(ValueError, match="contiguous"):
        write(tmp_path, "d/s", row(7), row(9))
    assert [[r.index for r in run] for run in result_rows.contiguous([row(i) for i in (5, 0, 1, 4, 7)])] == [
        [0, 1],
        [4, 5],
        [7],
    ]


def test_columns(tmp_path: Path) -> None:
    assert rows_schema(["b", "a"]).names == [
        *("index", "key", "shard", "status", "error", "seed", "nfe", "seconds", "residual"),
        *("a", "b", "course", "redone", "truncated", "nothing_to_generate", "size", "crops", "memory"),
        *("host", "attempt"),
    ]
    write(tmp_path, "s", row(0), row(1, "bad_image: x"), row(2), row(3))
    assert commit_shard(LocalStore(tmp_path), "s", 4)
    table = pq.read_table(tmp_path / "metrics/s.parquet").to_pydict()
    assert table["status"] == ["ok", "failed", "ok", "ok"]
    assert table["error"] == [None, "bad_image: x", None, None]
    assert table["seed"] == [2**62, None, 2**62 + 2, 2**62 + 3]
    assert table["ssim"] == [0.5, None, None, None]
    assert table["psnr"] == [0.0, None, 2.0, 3.0]
    assert set(table["shard"]) == {"s"}
    features = pq.read_table(tmp_path / "features/clip/s.parquet")
    assert features.schema.names == ["index", "key", "feature"]
    assert str(features.schema.field("feature").type.value_type) == "halffloat"
    assert features.to_pydict()["index"] == [0, 2, 3]
    assert features.to_pydict()["feature"][1] == [2.0, 3.0, 4.0]

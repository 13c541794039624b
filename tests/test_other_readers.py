"""What a run writes, as other programs read it: no empty row group, no gaps among whole numbers."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.parts import row, write

from fcs.core.collate import collate, record_seed
from fcs.core.records import Record
from fcs.engine.encode_results import ResultEncoder
from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.commit_shard import commit_shard
from fcs.shards.store.local import LocalStore
from fcs.tasks import Inpaint

SHAPE = (3, 16, 16)


@pytest.mark.parametrize(("failed", "groups"), [(0, 0), (2, 1)])
def test_a_file_without_rows_has_no_row_group(tmp_path: Path, failed: int, groups: int) -> None:
    if failed:
        write(tmp_path, "s", *(row(i, "bad_image: x") for i in range(failed)))
    assert commit_shard(LocalStore(tmp_path), "s", failed, scores=["psnr"], features=["clip"])
    rows, features = (pq.ParquetFile(tmp_path / name) for name in ("metrics/s.parquet", "features/clip/s.parquet"))
    assert (rows.num_row_groups, rows.metadata.num_rows) == (groups, failed)
    assert (features.num_row_groups, features.metadata.num_rows) == (0, 0)
    assert features.schema_arrow.names == ["index", "key", "feature"]
    assert "psnr" in rows.schema_arrow.names
    assert pq.read_table(tmp_path / "features" / "clip").num_rows == 0


def test_seeds_of_a_shard_with_failures_have_no_gaps(tmp_path: Path) -> None:
    failed = Record(1, "b").failed("bad_image", "x")
    own = Record(2, "c", torch.zeros(SHAPE, dtype=torch.uint8), seed=2**62 + 1).failed("bad_mask", "x")
    torn = Record(3, None).failed("truncated", "x")
    nameless = Record(4, "caf\udce9").failed("bad_key", "x")
    batch = collate("in/s", 0, [failed, own, torn, nameless], SHAPE, 7)
    rows = ResultEncoder(Inpaint(), "png", False, {}).rows(batch, None)
    write(tmp_path, "s", row(0))
    parts.write(LocalStore(tmp_path), "s", result_rows.table(rows[:3], "s"))
    assert commit_shard(LocalStore(tmp_path), "s", 4)
    seeds = pq.read_table(tmp_path / "metrics" / "s.parquet")["seed"]
    assert seeds.null_count == 0
    assert seeds.to_pylist() == [2**62, record_seed(7, "s", "b"), 2**62 + 1, 0]
    assert batch.seeds[3] > 0  # a name that is no text has one too

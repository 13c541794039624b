"""docs/rows.md and the files that runs write say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq

from fcs.core.operators import Jpeg
from fcs.engine.config.class_names import shipped
from fcs.engine.config.settings import Feature, Score
from fcs.metrics import image_scores
from fcs.metrics.weights import FILES
from fcs.shards.ledger.result_rows import rows_schema
from fcs.tasks import Restore

PAGE = (Path(__file__).parents[1] / "docs" / "rows.md").read_text()
FIRST, _, REST = PAGE.partition("## features/")
COLUMNS = dict(re.findall(r"^\| `(\w+)` \| ([\w<>]+) \|", FIRST, re.MULTILINE))
FEATURES = re.findall(r"^\| `(\w+)` \|", REST.partition("## summary.json")[0], re.MULTILINE)


def kind(field: pa.Field) -> str:
    """A column's type as the page says it; Arrow and Parquet name a list's entries differently."""
    return str(field.type).replace("item: ", "").replace("element: ", "")


def test_every_column_and_its_type() -> None:
    tasks = {name for task in (*shipped("task").values(), Restore(Jpeg())) for name in task.scored}
    scores = {*image_scores.NAMES, *get_args(Score), *tasks}
    assert {field.name: kind(field) for field in rows_schema(scores)} == COLUMNS


def test_what_a_run_wrote_is_on_the_page(digits_run: Path) -> None:
    schema = pq.read_schema(digits_run / "metrics" / "mixed.parquet")
    further = [*get_args(Score), "consistency", "iou"]
    assert {field.name: kind(field) for field in schema} == {k: v for k, v in COLUMNS.items() if k not in further}


def test_every_feature_and_every_file_of_weights() -> None:
    assert list(get_args(Feature)) == FEATURES
    assert all(file.name in REST for file in FILES.values())

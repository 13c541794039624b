"""What results are held against, and the results themselves."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.records import Record
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import Source
from fcs.shards.input.whole_tar import members_by_key

COLUMNS = ("residual", "nfe", "seconds")


@dataclass(frozen=True)
class Truth:
    """What results are held against.

    Attributes:
        places: where each (shard, key) stands in the tensors.
        pictures: uint8 ``(N, C, H, W)``.
        masks: uint8 ``(N, 1, H, W)``, white where a record has none or the task looks at none.
        facts: each record's own JSON.
    """

    places: dict[tuple[str, str], int]
    pictures: Tensor
    masks: Tensor
    facts: list[dict[str, Any]]

    @property
    def groups(self) -> Tensor:
        """Which records the bootstrap draws together, ``(N,)``: renderings of one glyph, else each for itself."""
        names = [fact.get("name", f"{stem}/{key}") for (stem, key), fact in zip(self.places, self.facts, strict=True)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return torch.tensor([numbers[name] for name in names])

    @property
    def names(self) -> list[str]:
        """``shard/key`` of each record."""
        return ["/".join(name) for name in self.places]

    def only(self, kept: Tensor) -> Truth:
        """The records where ``kept`` ``(N,)`` is true."""
        chosen = kept.nonzero()[:, 0].tolist()
        names = list(self.places)
        places = {names[old]: new for new, old in enumerate(chosen)}
        return Truth(places, self.pictures[kept], self.masks[kept], [self.facts[old] for old in chosen])


def read_records(sources: list[Source], form: Format, limit: int | None = None) -> dict[tuple[str, str], Record]:
    """All whole records of the input shards, of the first ``limit`` ones, by shard and key."""
    records: dict[tuple[str, str], Record] = {}
    for source in sources:
        with ShardReader(source, form) as reader:
            count = len(reader) if limit is None else min(limit, len(reader))
            limit = None if limit is None else limit - count
            for record in map(reader.record, range(count)):
                if record.error is None and record.key is not None:
                    records[source.stem, record.key] = record
    return records


def read_truth(sources: list[Source], form: Format, limit: int | None = None) -> Truth:
    """All whole records of the input shards, of the first ``limit`` ones.

    Raises:
        UsageError: there is none.
    """
    records = read_records(sources, form, limit)
    if not records:
        whole = f"a whole record of {form.width}x{form.height}" + (" with its mask" if form.needs_mask else "")
        raise UsageError.of("data.shards", " ".join(source.url for source in sources), whole)
    white = torch.full((1, form.height, form.width), 255, dtype=torch.uint8)
    return Truth(
        {name: place for place, name in enumerate(records)},
        torch.stack([record.image for record in records.values() if record.image is not None]),
        torch.stack(
            [record.mask if form.needs_mask and record.mask is not None else white for record in records.values()]
        ),
        [record.extra for record in records.values()],
    )


def read_results(out: Path, truth: Truth) -> tuple[Tensor, Tensor]:
    """A run's pictures, uint8 ``(N, C, H, W)`` in the order of the truth, and which records have one, ``(N,)``."""
    results, found = torch.zeros_like(truth.pictures), torch.zeros(len(truth.pictures), dtype=torch.bool)
    for name, pil in read_pictures(out).items():
        array = torch.from_numpy(np.array(pil)).reshape(pil.height, pil.width, -1)
        results[truth.places[name]], found[truth.places[name]] = array.permute(2, 0, 1), True
    return results, found


def read_pictures(out: Path) -> dict[tuple[str, str], Image.Image]:
    """The results of a run by shard and key."""
    found = {}
    for path in sorted((out / "shards").rglob("*.tar")):
        stem = path.relative_to(out / "shards").with_suffix("").as_posix()
        for key, members in members_by_key(path).items():
            for suffix in members.keys() & {"png", "jpg", "webp"}:
                found[stem, key] = Image.open(io.BytesIO(members[suffix]))
    return found


def read_scores(out: Path, truth: Truth, names: Sequence[str]) -> dict[str, Tensor]:
    """Scores of a run's rows, ``(N,)`` each in the order of the truth; NaN where a row has none."""
    found = {name: torch.full((len(truth.places),), math.nan, dtype=torch.float64) for name in names}
    for row in _rows(out).to_pylist():
        place = truth.places.get((row["shard"], row["key"]))
        for name in names:
            if place is not None and row.get(name) is not None:
                found[name][place] = row[name]
    return found


def read_columns(out: Path) -> dict[str, float]:
    """Means of a run's rows that need no truth; NaN where no row has one."""
    rows = _rows(out)
    found = {name: rows[name].drop_null().to_numpy() for name in COLUMNS}
    return {name: float(values.mean()) if len(values) else math.nan for name, values in found.items()}


def _rows(out: Path) -> pa.Table:
    """A run's rows. A folder above it that is called ``steps=5`` is no column of theirs, as it would be in Hive."""
    return pq.read_table(sorted((out / "metrics").rglob("*.parquet")), partitioning=None)

"""Parts of a shard without a run: the row of a record follows from its number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fcs.shards.ledger import parts, result_rows
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.local import LocalStore


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def row(index: int, error: str | None = None, text: str = "") -> Row:
    if error:
        return Row(index, f"k{index}", error)
    key = f"k{index}"
    members = (
        (f"{key}.json", f'{{"n": {index}}}'.encode()),
        (f"{key}.png", f"{text}{index}".encode() * index),
    )
    scores = {"psnr": float(index), "ssim": None if index == 2 else float("nan") if index == 3 else 0.5}
    feature = {"clip": np.arange(3) + index}
    return Row(index, key, None, 2**62 + index, 20, 0.25, 0.1 * index, scores, members, feature)


def write(out: Path, stem: str, *rows: Row) -> bool:
    return parts.write(LocalStore(out), stem, result_rows.table(rows, stem, ["ssim", "psnr"], ["clip"], "host", 1))

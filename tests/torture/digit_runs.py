"""Short runs of the command on digits, and what is in their folders."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import webdataset as wds

import fcs

DIGITS = Path(fcs.__file__).parent / "samples" / "digits" / "half.tar"
BATCH = 4
SETTINGS = ["steps=1", "sampler.step_sizes=[5.0]", f"data.batch_size={BATCH}", "previews.max=0", "trainer.grace=1"]


def settings(inputs: Path, out: Path) -> list[str]:
    """Arguments of the command."""
    return ["--config", "digits_inpaint", f"data.shards={inputs}/*.tar", f"out={out}", *SETTINGS]


def make_inputs(folder: Path, shards: int, records: int) -> Path:
    """Shards of held-out digits, each record under a key of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = list(wds.WebDataset(str(DIGITS), shardshuffle=False))
    for shard in range(shards):
        with wds.TarWriter(str(folder / f"{shard:05d}.tar"), mtime=0) as tar:
            for place in range(records):
                digit = digits[(shard * records + place) % len(digits)]
                tar.write({name: digit[name] for name in ("png", "mask.png")} | {"__key__": f"r{shard}-{place}"})
    return folder


def keys(path: Path) -> set[str]:
    """Keys of a shard."""
    with tarfile.open(path) as tar:
        return {name.partition(".")[0] for name in tar.getnames()}


def written(out: Path) -> list[dict[str, str | None]]:
    """Rows of the committed shards."""
    tables = (pq.read_table(path, columns=["shard", "key", "error"]) for path in (out / "metrics").glob("*.parquet"))
    return [row for table in tables for row in table.to_pylist()]


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of each result tar."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "shards").glob("*.tar")}


def committed(out: Path) -> dict[str, tuple[int, str]]:
    """Committed shards: time and content of tar and commit record."""
    found = {}
    for record in (out / "shards").glob("*.json"):
        tar = record.with_suffix(".tar")
        found[record.stem] = (tar.stat().st_mtime_ns, record.read_text())
    return found

"""Pictures, tables and datasets to pack, and what must be in the shards made of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.shards.input.whole_tar import members_by_key

WIDTH, HEIGHT = 20, 12

FORM = Format(3, HEIGHT, WIDTH)


def pixels(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(number: int, form: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number)).save(buffer, form, **options)
    return buffer.getvalue()


def mask(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number)[..., 0]).save(buffer, "png")
    return buffer.getvalue()


def contents(out: Path) -> dict[str, dict[str, bytes]]:
    """Members by key and suffix, over all shards in order."""
    return {key: members for path in sorted(out.glob("*.tar")) for key, members in members_by_key(path).items()}


def readable(out: Path, form: Format = FORM) -> int:
    """Check that the reader has no complaint; the number of records, which sizes.json says too."""
    sizes = json.loads((out / "sizes.json").read_text())
    for source in resolve(f"{out}/*.tar"):
        with ShardReader(source, form) as reader:
            records = [reader.record(number) for number in range(len(reader))]
            assert [record.error for record in records] == [None] * len(records)
            assert sizes[Path(source.url).name] == len(records)
    assert len(sizes) == len(list(out.glob("*.tar")))
    return sum(sizes.values())


def write_pictures(top: Path) -> Path:
    """Seven pictures with what may lie beside them."""
    (top / "in.ner" / "deep").mkdir(parents=True)
    (top / "a.png").write_bytes(encoded(0))
    (top / "a.mask.png").write_bytes(mask(0))
    (top / "a.txt").write_text("red apple")
    (top / "a.json").write_text('{"seed": 7, "class": 1}')
    (top / "b.v2.JPG").write_bytes(encoded(1, "jpeg"))
    (top / "c.webp").write_bytes(encoded(2, "webp"))
    (top / "in.ner" / "d.bmp").write_bytes(encoded(3, "bmp"))
    (top / "in.ner" / "deep" / "e.tiff").write_bytes(encoded(4, "tiff"))
    (top / "x.jpg").write_bytes(encoded(5, "jpeg"))
    (top / "x.png").write_bytes(encoded(6))
    (top / ".hidden.png").write_bytes(b"no picture")
    (top / "notes.pdf").write_bytes(b"no picture")
    return top


ROWS = [
    {"image": "a.png", "mask": "a.mask.png", "prompt": "red apple", "seed": 7, "class": 3},
    {"image": "c.webp", "mask": None, "prompt": None, "seed": None, "class": 4},
    {"image": "in.ner/d.bmp", "mask": None, "prompt": "", "seed": 2**62, "class": 5},
]


def write_csv(folder: Path) -> Path:
    path = folder / "table.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def write_jsonl(folder: Path) -> Path:
    path = folder / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "table.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path


def embedded(folder: Path) -> pa.Table:
    """The rows with datasets' struct of bytes and path in the place of paths."""

    def picture(name: str | None) -> dict[str, object] | None:
        return None if name is None else {"bytes": (folder / name).read_bytes(), "path": name}

    return pa.Table.from_pylist([{**row, "image": picture(row["image"]), "mask": picture(row["mask"])} for row in ROWS])


def write_embedded(folder: Path) -> Path:
    path = folder / "embedded.parquet"
    pq.write_table(embedded(folder), path)
    return path


def write_dataset(folder: Path, name: str = "dataset", stream: bool = True) -> Path:
    """A dataset as save_to_disk writes it, in two files."""
    path, rows = folder.parent / name, embedded(folder)
    path.mkdir(parents=True)
    files = [f"data-{i:05d}-of-00002.arrow" for i in range(2)]
    for file, part in zip(files, (rows.slice(0, 1), rows.slice(1)), strict=True):
        writer = (pa.ipc.new_stream if stream else pa.ipc.new_file)(path / file, part.schema)
        with writer:
            writer.write_table(part)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))
    (path / "dataset_info.json").write_text("{}")
    return path


SOURCES = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "bytes": write_embedded,
    "dataset": write_dataset,
    "file": lambda folder: write_dataset(folder, stream=False),
}

"""Shards of faces in the record format: KEY.png, KEY.mask.png (white = generate), KEY.txt, KEY.json."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faces.captions import draw_caption, full_caption
from faces.draws import Split, draw_face, generator
from faces.masks import MASKS, Mask, draw_mask
from faces.regions import states
from faces.render import SIZE, render

Caption = Literal["some", "all"]
Members = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Order:
    """What is wanted: a split, a kind of mask or ``mixed`` (each in turn), captions, a seed and a size in pixels."""

    split: Split
    mask: Mask | Literal["mixed"] = "mixed"
    caption: Caption = "some"
    seed: int = 0
    size: int = SIZE


def write_shards(folder: Path, order: Order, records: int, shard: int, workers: int) -> list[Path]:
    """Writes ``SPLIT-00000.tar`` and so on, ``shard`` records in each; equal orders give equal bytes.

    A shard is made beside and renamed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with ProcessPoolExecutor(workers) as pool:
        drawn = pool.map(partial(draw_record, order), range(records), chunksize=25)
        for number, start in enumerate(range(0, records, shard)):
            path = folder / f"{order.split}-{number:05d}.tar"
            _write(path, (next(drawn) for _ in range(min(shard, records - start))))
            paths.append(path)
    return paths


def draw_record(order: Order, index: int) -> Members:
    """One record's members by name. Picture, mask and caption depend on the order and the index alone.

    A face is the same under every mask and caption.
    """
    rng = generator(order.seed, order.split, index)
    face = draw_face(order.split, rng)
    kind = MASKS[index % len(MASKS)] if order.mask == "mixed" else order.mask
    mask = draw_mask(kind, face.placement, order.size, np.random.default_rng((order.seed, index, 1)))
    words = np.random.default_rng((order.seed, index, 2))
    caption = full_caption(face.labels) if order.caption == "all" else draw_caption(face.labels, words)
    about = {
        "attributes": face.attributes,
        "states": states(mask, face.placement),
        "mask": kind,
        "placement": asdict(face.placement),
        "split": order.split,
    }
    key = f"{order.split}-{index:06d}"
    return [
        (f"{key}.png", _png(render(face, order.size))),
        (f"{key}.mask.png", _png(mask)),
        (f"{key}.txt", caption.encode()),
        (f"{key}.json", json.dumps(about, sort_keys=True).encode()),
    ]


def _write(path: Path, records: Iterator[Members]) -> None:
    part = path.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (member for record in records for member in record):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    part.replace(path)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()

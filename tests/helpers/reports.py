"""Runs that no model made: quickly written, with pictures, prompts and scores that tests know."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcs.shards.input.sources import resolve
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.pinned_run import describe, pin
from fcs.shards.ledger.result_rows import Row
from fcs.shards.store.base import Store
from fcs.shards.store.local import LocalStore

SETTINGS = {
    "model.sha256": "0123456789abcdef",
    "task": "fcs.tasks.Inpaint",
    "task.paste": True,
    "sampler": "fcs.samplers.Newton",
    "sampler.step_sizes": [0.5],
    "steps": 20,
    "seed": 0,
    "format": "png",
    "data.resize": "none",
    "data.prompt": "",
    "data.captions": True,
}
HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>'


@dataclass(frozen=True)
class Made:
    """What the pictures of a record are, uint8 (H, W, 3), the mask (H, W)."""

    image: np.ndarray[Any, np.dtype[np.uint8]]
    mask: np.ndarray[Any, np.dtype[np.uint8]]
    result: np.ndarray[Any, np.dtype[np.uint8]]


def made(index: int, side: int = 16) -> Made:
    """The pictures of a record: of one colour, or, if they are large, noise, which nothing compresses."""
    draw = np.random.default_rng(index)
    grain = side if side > 256 else 1
    colours = draw.integers(40, 255, (grain, grain, 3))
    image = np.broadcast_to(colours, (side, side, 3)).astype(np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[:, side // 2 :] = 255
    result = image.copy()
    result[:, side // 2 :] = 255 - image[:, side // 2 :]
    return Made(image, mask, result)


def png(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@lru_cache(32)
def files(index: int, side: int) -> tuple[bytes, bytes, bytes]:
    """Image, mask and result of a record."""
    one = made(index, side)
    return png(one.image), png(one.mask), png(one.result)


def inputs(index: int, key: str, side: int) -> list[tuple[str, bytes]]:
    """The input members of a record by suffix."""
    image, mask, _ = files(index, side)
    return [("png", image), ("mask.png", mask), ("txt", f"prompt of {key}".encode())]


def write_run(
    out: Path | Store,
    data: Path,
    keys: Sequence[str],
    *,
    scores: Callable[[int], dict[str, float | None]] = lambda i: {"psnr": float(i), "ssim": 0.5 + i / 100},
    fails: Callable[[int], str | None] = lambda i: None,
    settings: dict[str, Any] | None = None,
    copies: bool = False,
    side: int = 16,
    kinds: int = 1 << 30,
    batch: int = 4,
    stop: int | None = None,
) -> None:
    """A run over one shard ``data``, which is written unless it is there; ``stop`` leaves it before that batch.

    After ``kinds`` records the same pictures come again.
    """
    store = LocalStore(out) if isinstance(out, Path) else out
    if not data.exists():
        members = [inputs(i % kinds, key, side) for i, key in enumerate(keys)]
        write_tar(data, [(f"{k}.{name}", b) for k, own in zip(keys, members, strict=True) for name, b in own])
    sources = resolve([str(data)])
    usual = {key: value for key, value in SETTINGS.items() if "task" not in (settings or {}) or key[:5] != "task."}
    pin(store, describe({**usual, **(settings or {})}, sources, None))
    names = sorted({name for i in range(len(keys)) for name in scores(i)})
    info = {"versions": {"fcs": "0"}, "card": "cpu"}
    book = Ledger(store, sources, batch, lambda _: len(keys), scores=names, info=info)

    def row(index: int) -> Row:
        key, error = keys[index], fails(index)
        if error is not None:
            return Row(index, key, error)
        found = files(index % kinds, side)[2]
        members = [(f"{key}.png", found), (f"{key}.json", b'{"fcs": {"model": "some-model"}, "input": {}}')]
        members += [(f"{key}.input.{name}", b) for name, b in inputs(index % kinds, key, side)] if copies else []
        return Row(
            index, key, None, index, 20, 0.25, 0.01 * index, scores(index), tuple(members), course=(0.5, 0.01 * index)
        )

    try:
        for item in book.tasks():
            if stop is not None and item.batch >= stop:
                break
            book.finish(item.source, item.batch, [row(index) for index in item.wanted])
    finally:
        book.close()

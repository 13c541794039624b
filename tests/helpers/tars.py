"""Tars of a few members, and the records that the reader finds in them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from fcs.core.records import Record
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve

Members = Iterable[tuple[str, bytes]]

FORM = Format(1, 4, 4)


def picture(
    value: object = 7, size: tuple[int, int] = (4, 4), mode: str = "L", kind: str = "PNG", **options: object
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pixels(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def tar(members: Members, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def records(
    folder: Path, data: bytes | Members, form: Format = FORM, name: str = "a.tar", **options: int
) -> list[Record]:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else tar(data))
    with ShardReader(resolve(str(path))[0], form, **options) as reader:
        return [reader.record(i) for i in range(len(reader))]


def codes(found: list[Record]) -> list[tuple[str | None, str | None]]:
    return [(r.key, r.error and r.error.partition(":")[0]) for r in found]


def one(folder: Path, members: dict[str, bytes], form: Format = FORM) -> Record:
    (found,) = records(folder, [(f"k.{suffix}", data) for suffix, data in members.items()], form)
    return found


def array(record: Record) -> np.ndarray:
    assert record.error is None, record.error
    assert record.image is not None
    return record.image.numpy()

"""A folder of pictures, with masks, prompts and facts beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fcs.shards.store.atomic_files import storage
from fcs.tools.pack.source_record import SourceRecord

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2")
MASK = ".mask.png"


def folder_records(top: Path) -> Iterator[SourceRecord]:
    """One record per picture below ``top``, sorted by path folder by folder.

    ``NAME.mask.png``, ``NAME.txt`` and ``NAME.json`` beside ``NAME.jpg`` are its mask, prompt and facts. Hidden
    files and folders, and links to folders, are passed over.

    Raises:
        StorageError: a folder cannot be read.
    """
    for path in _files(top):
        if path.suffix.lower() in PICTURES and not path.name.lower().endswith(MASK):
            beside = path.with_suffix("")
            yield SourceRecord(
                name=str(path),
                key=beside.relative_to(top).as_posix(),
                image=path,
                mask=_there(beside, MASK),
                prompt=_there(beside, ".txt"),
                facts=_there(beside, ".json"),
            )


def _files(folder: Path) -> Iterator[Path]:
    with storage(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name)
        elif entry.is_file():
            yield folder / entry.name


def _there(beside: Path, suffix: str) -> Path | None:
    path = beside.with_name(beside.name + suffix)
    return path if path.is_file() else None

"""Writes records to shards: each shard appears whole under its name, ``sizes.json`` last."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from fcs.core.errors import UsageError
from fcs.shards.input.valid_keys import UniqueKeys
from fcs.shards.store.atomic_files import no_folder, replacing, storage, to_json, write_replace
from fcs.shards.store.tar_writer import TarWriter
from fcs.tools.pack.record_members import LeftOutError, Recipe, record_members
from fcs.tools.pack.source_record import SourceRecord

KEY = "OUT"
SIZES = "sizes.json"


@dataclass(frozen=True)
class Packed:
    """What was made.

    Attributes:
        sizes: records per shard by file name.
        left_out: how many records were left out.
        notes: how many of the others have which note (``fcs.core.notes``).
        members: how many of them have a member of which suffix.
        pictures: (width, height) of the picture with the fewest pixels and of the one with the most; None without any.
    """

    sizes: dict[str, int]
    left_out: int
    notes: dict[str, int]
    members: dict[str, int]
    pictures: tuple[tuple[int, int], tuple[int, int]] | None = None


def pack(
    records: Iterable[SourceRecord],
    out: Path,
    recipe: Recipe | None = None,
    per_shard: int = 1000,
    left_out: Callable[[str, str], None] = lambda name, reason: None,
    check: Callable[[], None] = lambda: None,
) -> Packed:
    """Write shards ``000000.tar``, ``000001.tar``, ... and ``sizes.json`` into an empty folder.

    However it ends early, what it wrote is removed; only a killed process leaves shards without ``sizes.json``.
    The bytes depend on the records and the recipe alone.

    Args:
        records: where they come from; see ``open_source``.
        out: the folder; made if it is not there.
        recipe: masks and sizes; by default everything stays as it is.
        per_shard: records a shard.
        left_out: told name and reason of each record that cannot be in a shard.
        check: called between records; may raise to stop.

    Raises:
        UsageError: the folder is not empty, or there are no records.
        StorageError: something cannot be read or written.
    """
    new_folder = not out.exists()
    _check_empty(out)
    maker = _Maker(recipe or Recipe(), left_out, check)
    sizes: dict[str, int] = {}
    try:
        for name, count in _shards(out, maker.all(records), per_shard):
            sizes[name] = count
        if not sizes and not maker.left_out:
            raise UsageError("SOURCE: expected pictures, or .npy files with --measurements; there are none in it")
        if sizes:
            write_replace(out / SIZES, to_json(sizes))
    except BaseException:
        _remove(out, [*sizes, _name(len(sizes)), SIZES], new_folder)
        raise
    return Packed(sizes, maker.left_out, dict(maker.notes), dict(maker.members), maker.pictures)


class _Maker:
    """Makes keys and members of source records; counts those that are left out, and notes on the others."""

    def __init__(self, recipe: Recipe, say: Callable[[str, str], None], check: Callable[[], None]) -> None:
        self.recipe, self.say, self.check = recipe, say, check
        self.left_out = 0
        self.notes: Counter[str] = Counter()
        self.members: Counter[str] = Counter()
        self.pictures: tuple[tuple[int, int], tuple[int, int]] | None = None

    def all(self, records: Iterable[SourceRecord]) -> Iterator[tuple[str, dict[str, bytes]]]:
        keys = UniqueKeys()
        for record in records:
            self.check()
            try:
                key = keys.make(record.key) if record.error is None else ""
                made = record_members(record, key, self.recipe)
            except LeftOutError as reason:
                self.left_out += 1
                self.say(record.name, str(reason))
            else:
                self.notes.update(made.notes)
                self.members.update(made.content.keys())
                if made.size is not None:
                    sizes = (*(self.pictures or ()), made.size)
                    self.pictures = min(sizes, key=_extent), max(sizes, key=_extent)
                yield key, made.content


def _extent(size: tuple[int, int]) -> tuple[int, int]:
    return math.prod(size), size[0]


def _shards(out: Path, made: Iterator[tuple[str, dict[str, bytes]]], per_shard: int) -> Iterator[tuple[str, int]]:
    for number, first in enumerate(made):
        name, count = _name(number), 0
        with replacing(out / name) as file, TarWriter(file) as tar:
            for key, content in chain([first], islice(made, per_shard - 1)):
                for suffix, data in content.items():
                    tar.write(f"{key}.{suffix}", data)
                count += 1
        yield name, count


def _name(number: int) -> str:
    return f"{number:06d}.tar"


def _check_empty(out: Path) -> None:
    with storage(out):
        file = no_folder(out)
        if file is not None:
            which = "it" if file == out else file
            raise UsageError.of(KEY, out, f"a folder, or a name that is nothing yet; {which} is a file")
        names = os.listdir(out) if out.exists() else []
    if names and SIZES not in names and all(name.endswith((".tar", ".tmp")) for name in names):
        raise UsageError.of(KEY, out, "an empty folder; it holds what a killed fcs-pack left, delete it")
    if names:
        raise UsageError.of(KEY, out, f"an empty folder or a new name; there is {sorted(names)[0]} in it")


def _remove(out: Path, names: list[str], folder: bool) -> None:
    with suppress(OSError):  # what stopped us matters more than what cannot be removed
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(out / name)
        if folder:
            os.rmdir(out)

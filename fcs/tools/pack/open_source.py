"""Finds out what SOURCE is and reads its records one by one; only a row or the names of a folder are in memory."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fcs.core.errors import UsageError
from fcs.shards.input.cell_values import Captions
from fcs.shards.store.atomic_files import read_json
from fcs.tools.pack.folder_names import PICTURES, MaskNames
from fcs.tools.pack.picture_folder import files_below, folder_records
from fcs.tools.pack.source_record import SourceRecord
from fcs.tools.pack.table_columns import column_roles, roles_text, table_records
from fcs.tools.pack.table_files import KEY, SUFFIXES, Table, open_arrow, open_table

STATE, SPLITS = "state.json", "dataset_dict.json"
MEASUREMENTS = (".npy",)
_PART_OF_SPLIT = re.compile(r"(.+?)-\d+-of-\d+")


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        columns: column of a table by role (``table_roles.ROLES``), where it has an unusual name.
        split: of a dataset that has several.
        masks: how masks in a folder are told from pictures.
        captions: which of several captions is the prompt; None where nothing was said.
        wanted: what makes a record in a folder: ``image``, or ``measurement`` for ``NAME.npy``.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    split: str | None = None
    masks: MaskNames = field(default_factory=MaskNames)
    captions: Captions | None = None
    wanted: str = "image"


def open_source(
    source: Path | Sequence[Path], how: Reading | None = None, note: Callable[[str], None] = lambda line: None
) -> Iterator[SourceRecord]:
    """The records of a folder of pictures, of tables (CSV, TSV, JSONL, Parquet), or of a dataset on disk.

    Args:
        source: what to read: one path, or several of tables; a name that is none may be a glob of tables.
        how: to read it.
        note: told what serves as what, and what was passed over.

    Raises:
        UsageError: it is none of these, or has not the columns; damage further on is raised while reading.
        StorageError: it cannot be read.
    """
    how = how or Reading()
    paths = [path for one in ([source] if isinstance(source, Path) else source) for path in _named(one)]
    if len(paths) > 1 or not paths[0].is_dir():
        if how.split is not None:
            raise UsageError.of("--split", how.split, "a dataset on disk, or a folder of tables, as SOURCE")
        folder = next((path for path in paths if path.is_dir()), None)
        if folder is not None:
            raise UsageError.of(KEY, folder, "one folder, or tables; it is one of several sources")
        return _open_tables(paths, how, note)
    folder = paths[0]
    if (folder / STATE).is_file() or (folder / SPLITS).is_file():
        return _tables([open_arrow(path) for path in _dataset(folder, how.split)], how, note)
    own = PICTURES if how.wanted == "image" else MEASUREMENTS
    tables = [] if next(files_below(folder, own), None) else list(files_below(folder, SUFFIXES))
    if tables:
        return _open_tables(_of_split(folder, tables, how.split), how, note)
    _refuse({"--split": how.split}, "a dataset on disk, or a folder of tables, as SOURCE")
    _refuse({f"--{role}-column": name for role, name in how.columns.items()}, "a table or a dataset as SOURCE")
    _refuse({"--caption": how.captions and (how.captions.number or "random")}, "a table or a dataset as SOURCE")
    return folder_records(folder, how.masks, note, how.wanted)


def _named(path: Path) -> list[Path]:
    """The paths that a name stands for."""
    path = path.expanduser()
    if path.exists():
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        what = "a glob that matches tables" if glob.has_magic(str(path)) else "an existing folder or table"
        raise UsageError.of(KEY, path, what)
    return found


def _refuse(given: Mapping[str, object], expected: str) -> None:
    for option, value in given.items():
        if value is not None:
            raise UsageError.of(option, value, expected)


def _open_tables(paths: list[Path], how: Reading, note: Callable[[str], None]) -> Iterator[SourceRecord]:
    tables = [open_table(path) for path in paths]
    if len(tables) > 1:
        note(f"{len(tables)} tables, {paths[0]} to {paths[-1]}")
    return _tables(tables, how, note)


def _tables(tables: list[Table], how: Reading, note: Callable[[str], None]) -> Iterator[SourceRecord]:
    if how.masks.said:
        raise UsageError("--mask-suffix, --mask-folder: expected a folder of pictures as SOURCE, not a table")
    if how.wanted != "image":
        raise UsageError("--measurements: expected a folder of .npy files as SOURCE, not a table")
    names = list(dict.fromkeys(name for table in tables for name in table.names))
    pictures = list(dict.fromkeys(name for table in tables for name in table.pictures))
    columns = column_roles(how.columns, names, pictures)
    note(roles_text(columns, tables))
    return table_records(tables, columns, how.captions)


def _of_split(folder: Path, tables: list[Path], split: str | None) -> list[Path]:
    """The tables of a split, by the names that the Hugging Face hub gives them: ``train-00000-of-00002.parquet``."""
    kinds = sorted({path.suffix.lower() for path in tables})
    if len(kinds) > 1:
        raise UsageError.of(KEY, folder, f"tables of one kind, not {' and '.join(kinds)}; a glob says which")
    splits = {path: _split_of(path, folder) for path in tables}
    names = sorted({name for name in splits.values() if name is not None})
    _check_split(split, names, "none")
    return [path for path in tables if split in (None, splits[path])]


def _check_split(split: str | None, names: Sequence[str], nothing: str) -> None:
    """Raise unless the split is one of those there; ``nothing`` is what is expected where there are none."""
    if split is None and len(names) > 1:
        raise UsageError(f"--split: expected one of {', '.join(names)}")
    if split is not None and split not in names:
        raise UsageError.of("--split", split, f"one of {', '.join(names)}" if names else nothing, names)


def _split_of(path: Path, top: Path) -> str | None:
    found = _PART_OF_SPLIT.match(path.stem)
    if found:
        return found[1]
    return path.parent.name if path.stem.isdigit() and path.parent != top else None


def _dataset(folder: Path, split: str | None) -> list[Path]:
    """The Arrow files of a dataset that ``save_to_disk`` wrote."""
    names = (read_json(folder / SPLITS) or {}).get("splits")
    if isinstance(names, list):
        _check_split(split, names, "none: the dataset has no splits")
        folder = folder / (split or names[0])
    else:
        _check_split(split, [], "none: the dataset has no splits")
    state = read_json(folder / STATE) or {}
    if state.get("_indices_data_files"):
        raise UsageError.of(KEY, folder, "a dataset without a selection; flatten_indices() before save_to_disk()")
    try:
        files = [folder / entry["filename"] for entry in state["_data_files"]]
    except (KeyError, TypeError):
        files = []
    missing = next((str(path) for path in files if not path.is_file()), None)
    if not files or missing:
        raise UsageError.of(KEY, folder, f"a dataset on disk; there is no {missing or 'list of files in ' + STATE}")
    return files

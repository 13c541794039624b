"""Finds out what SOURCE is and reads its records one by one; only a row or the names of a folder are in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fcs.core.errors import StorageError, UsageError, first_line
from fcs.shards.store.atomic_files import read_json, storage
from fcs.tools.pack import table_columns
from fcs.tools.pack.picture_folder import folder_records
from fcs.tools.pack.source_record import SourceRecord

KEY = "SOURCE"
TABLES = (".csv", ".jsonl", ".parquet")
STATE, SPLITS = "state.json", "dataset_dict.json"
_FIRST = 100  # rows of a JSONL table whose columns are looked at
_CELL = 16 << 20  # characters of a CSV cell
_ROWS = 16  # of a Parquet table at a time
Row = Mapping[str, Any] | str


def open_source(
    source: Path, columns: Mapping[str, str | None] | None = None, split: str | None = None
) -> Iterator[SourceRecord]:
    """The records of a folder of pictures, a CSV, JSONL or Parquet table, or a dataset on disk.

    Args:
        source: what to read.
        columns: column of a table by role (``table_columns.ROLES``), where it has an unusual name.
        split: of a dataset on disk that has several.

    Raises:
        UsageError: it is none of these, or has not the columns; damage further on is raised while reading.
        StorageError: it cannot be read.
    """
    given = columns or {}
    if not source.exists():
        raise UsageError.of(KEY, source, "an existing folder or table")
    dataset = source.is_dir() and ((source / STATE).is_file() or (source / SPLITS).is_file())
    if split is not None and not dataset:
        raise UsageError.of("--split", split, "a dataset on disk as SOURCE")
    if dataset:
        return _arrow(_dataset(source, split), given)
    if source.is_dir():
        for role, column in given.items():
            if column is not None:
                raise UsageError.of(f"--{role}-column", column, "a table or a dataset on disk as SOURCE")
        return folder_records(source)
    with storage(source), open(source, "rb"):
        pass
    suffix = source.suffix.lower()
    if suffix == ".parquet":
        return _parquet(source, given)
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {".csv": _csv, ".jsonl": _jsonl}
    if suffix not in readers:
        raise UsageError.of(KEY, source, f"a folder, a dataset on disk or a table ({', '.join(TABLES)})")
    return _text(source, readers[suffix], given)


def _text(
    table: Path, read: Callable[[Path], Iterator[Row]], given: Mapping[str, str | None]
) -> Iterator[SourceRecord]:
    lines = _checked(table, read(table))
    first = list(islice(lines, _FIRST))
    names = list(dict.fromkeys(name for row in first if not isinstance(row, str) for name in row))
    if not names:
        raise UsageError.of(KEY, table, "a table with named columns and a row")
    return table_columns.table_records(chain(first, lines), table_columns.column_roles(given, names), table)


def _csv(table: Path) -> Iterator[Row]:
    csv.field_size_limit(_CELL)
    with open(table, newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            cells = {name: value for name, value in row.items() if name is not None and value is not None}
            if len(cells) != len(row):
                yield "another number of cells than the header has"
            else:
                yield {name: value or None for name, value in cells.items()}


def _jsonl(table: Path) -> Iterator[Row]:
    with open(table, encoding="utf-8-sig") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield f"no JSON: {first_line(error)}"
                continue
            yield row if isinstance(row, dict) else "no JSON object"


def _parquet(table: Path, given: Mapping[str, str | None]) -> Iterator[SourceRecord]:
    try:
        file = pq.ParquetFile(table)
    except (pa.ArrowException, OSError) as error:
        raise UsageError.of(KEY, table, f"a Parquet file ({first_line(error)})") from error
    columns = table_columns.column_roles(given, file.schema_arrow.names, _pictures(file.schema_arrow))

    def read() -> Iterator[Row]:
        with closing(file):
            for batch in file.iter_batches(_ROWS):
                yield from batch.to_pylist()

    return table_columns.table_records(_checked(table, read()), columns, table)


def _dataset(folder: Path, split: str | None) -> list[Path]:
    """The Arrow files of a dataset that ``save_to_disk`` wrote."""
    names = (read_json(folder / SPLITS) or {}).get("splits")
    if isinstance(names, list):
        if split is None and len(names) > 1:
            raise UsageError(f"--split: expected one of {', '.join(names)}")
        if split is not None and split not in names:
            raise UsageError.of("--split", split, f"one of {', '.join(names)}", names)
        folder = folder / (split or names[0])
    elif split is not None:
        raise UsageError.of("--split", split, "none: the dataset has no splits")
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


def _arrow(files: list[Path], given: Mapping[str, str | None]) -> Iterator[SourceRecord]:
    schemas = _checked(files[0], _schema(files[0]))
    schema = next(schemas)
    columns = table_columns.column_roles(given, schema.names, _pictures(schema))
    read = (row for path in files for row in _checked(path, _arrow_rows(path)))
    return table_columns.table_records(read, columns, files[0])


def _schema(path: Path) -> Iterator[pa.Schema]:
    with pa.memory_map(str(path)) as file:
        yield _stream(file).schema


def _arrow_rows(path: Path) -> Iterator[Row]:
    with pa.memory_map(str(path)) as file:
        reader = _stream(file)
        stored = isinstance(reader, pa.ipc.RecordBatchFileReader)
        for batch in map(reader.get_batch, range(reader.num_record_batches)) if stored else reader:
            for number in range(batch.num_rows):  # one by one: a batch may hold a thousand pictures
                yield batch.slice(number, 1).to_pylist()[0]


def _stream(file: Any) -> Any:
    """Datasets writes Arrow's stream format; its file format is read too."""
    if file.read(6) == b"ARROW1":
        return pa.ipc.open_file(file)
    file.seek(0)
    return pa.ipc.open_stream(file)


def _pictures(schema: pa.Schema) -> list[str]:
    """Columns of bytes, or of structs that hold bytes."""
    found = []
    for column in schema:
        kind = column.type
        if pa.types.is_struct(kind) and "bytes" in [kind.field(i).name for i in range(kind.num_fields)]:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            found.append(column.name)
    return found


def _checked(path: Path, lines: Iterator[Any]) -> Iterator[Any]:
    """The same; what a reader stumbles over is a UsageError that names the file."""
    try:
        with storage(path), closing(lines):  # type: ignore[type-var]
            yield from lines
    except StorageError:
        raise
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, OSError) as error:
        raise UsageError.of(KEY, path, f"a table that is whole ({first_line(error)})") from error

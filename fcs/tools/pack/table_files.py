"""Tables as files: CSV, TSV, JSONL, Parquet and the Arrow files of a dataset; only a few rows are in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fcs.core.errors import StorageError, UsageError, first_line
from fcs.core.unique_names import repeated_column, unique_object
from fcs.shards.input.table_roles import has_bytes, is_picture
from fcs.shards.store.atomic_files import storage

KEY = "SOURCE"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_UNPACKED = "the folder that it unpacks to"
PACKED = {suffix: _UNPACKED for suffix in (".zip", ".rar", ".7z")} | {
    suffix: f"{_UNPACKED}; a tar of KEY.png, KEY.txt, ... is a shard as it is (data.shards)"
    for suffix in (".tar", ".gz", ".tgz", ".zst")
}
_CELL = 16 << 20  # characters of a CSV cell
_ROWS = 16  # of a Parquet table at a time
Row = Mapping[str, Any] | str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        path: its file; paths in it are relative to the file's folder.
        names: its columns.
        pictures: columns of bytes, or of structs that hold bytes.
        unkept: columns that hold bytes anywhere, which JSON has no place for.
        rows: begins to read it: value by column, or why a row cannot be read.
    """

    path: Path
    names: tuple[str, ...]
    pictures: tuple[str, ...]
    unkept: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]


def open_table(path: Path) -> Table:
    """The table in a file, by the file's suffix.

    Raises:
        UsageError: it is none, or has no columns; damage further on is raised while its rows are read.
        StorageError: it cannot be read.
    """
    with storage(path), open(path, "rb"):
        pass
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in PACKED:
        raise UsageError.of(KEY, path, PACKED[suffix])
    if suffix not in SUFFIXES:
        raise UsageError.of(KEY, path, f"a folder, a dataset on disk or a table ({', '.join(SUFFIXES)})")
    read = _jsonl if suffix == ".jsonl" else partial(_csv, delimiter="\t" if suffix == ".tsv" else ",")
    names = dict.fromkeys(name for names in _checked(path, _names(path, read)) for name in names)
    if not names:
        # A reason where there is a row: often a comma too many, in captions without quotes or at the ends of lines.
        reason = next((f" (record 1: {row})" for row in _checked(path, read(path)) if isinstance(row, str)), "")
        raise UsageError.of(KEY, path, f"a table with named columns and a row{reason}")
    return Table(path, tuple(names), (), (), lambda: _checked(path, read(path)))


def open_arrow(path: Path) -> Table:
    """The table in an Arrow file, as datasets' ``save_to_disk`` writes it.

    Raises:
        UsageError, StorageError: as ``open_table``.
    """
    schema = next(_checked(path, _arrow_schema(path)))
    return _of_schema(path, schema, lambda: _arrow_rows(path))


def _names(path: Path, read: Callable[[Path], Iterator[Row]]) -> Iterator[list[str]]:
    """The columns of each row: a JSONL table may have one that its first rows have not."""
    for row in read(path):
        if not isinstance(row, str):
            yield list(row)
            if path.suffix.lower() != ".jsonl":  # all rows have the header's
                return


def _csv(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_CELL)
    with open(path, newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file, delimiter=delimiter), [])
        _refuse_twice(path, header)
        # A header that has a space after each comma says that values have one too.
        spaced = all(name[:1].isspace() for name in header[1:])
        file.seek(0)
        # Strict: else a quote that is not closed takes all rows to the next one, or to the end, into its cell.
        rows = csv.DictReader(file, delimiter=delimiter, skipinitialspace=spaced, strict=True)
        for row in _named_lines(rows):
            cells = {name: value for name, value in row.items() if name is not None and value is not None}
            if len(cells) != len(row):
                yield "another number of cells than the header has"
            else:
                yield {name: value or None for name, value in cells.items()}


def _named_lines(rows: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
    """The same; an error says in which line the row began."""
    while True:
        line = rows.line_num + 1
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            advice = "a quote that is not closed, or one in a quoted cell that is not doubled?"
            raise csv.Error(f"row at line {line}: {error}; {advice}") from error


def _jsonl(path: Path) -> Iterator[Row]:
    with open(path, encoding="utf-8-sig") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=unique_object)
            except (ValueError, RecursionError) as error:
                yield f"no JSON: {first_line(error)}"
                continue
            yield row if isinstance(row, dict) else "no JSON object"


def _parquet(path: Path) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UsageError.of(KEY, path, f"a Parquet file ({first_line(error)})") from error

    def read() -> Iterator[Row]:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                yield from batch.to_pylist()

    return _of_schema(path, schema, read)


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    name = repeated_column(names)
    if name is not None:
        raise UsageError.of(KEY, path, f"a table whose columns have different names; {name.strip()} stands twice")


def _of_schema(path: Path, schema: pa.Schema, read: Callable[[], Iterator[Row]]) -> Table:
    _refuse_twice(path, schema.names)
    pictures = [column.name for column in schema if is_picture(column.type)]
    unkept = [column.name for column in schema if has_bytes(column.type)]
    return Table(path, tuple(schema.names), tuple(pictures), tuple(unkept), lambda: _checked(path, read()))


def _arrow_schema(path: Path) -> Iterator[pa.Schema]:
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


def _checked(path: Path, lines: Iterator[Any]) -> Iterator[Any]:
    """The same; what a reader stumbles over is a UsageError that names the file."""
    try:
        with storage(path), closing(lines):  # type: ignore[type-var]
            yield from lines
    except StorageError:
        raise
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, OSError) as error:
        raise UsageError.of(KEY, path, f"a table that is whole ({first_line(error)})") from error

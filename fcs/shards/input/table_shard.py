"""A Parquet table of pictures as a shard, as the Hugging Face hub has them: each row is a record, read where it lies.

Columns are named as ``fcs-pack`` knows them: ``image`` (bytes, or a struct of bytes and path), ``mask``, ``prompt``,
``key`` and so on; all others make the record's JSON. A path in a cell is never followed. A record's key is what the
column of keys says, made valid and unique, or the number of its row.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from fcs.core.errors import first_line
from fcs.core.records import Record
from fcs.core.unique_names import repeated_column
from fcs.shards.input.cell_values import Captions, is_empty
from fcs.shards.input.decode import Format, decode
from fcs.shards.input.decode_image import BadRecordError
from fcs.shards.input.record_index import Entry, ShardIndex
from fcs.shards.input.sources import local_path
from fcs.shards.input.table_roles import has_bytes, is_picture, row_facts, usual_roles
from fcs.shards.input.tar_members import printable
from fcs.shards.input.valid_keys import UniqueKeys
from fcs.shards.store.atomic_files import storage_error

MAX_GROUP_BYTES = 4 << 30  # of a row group, which is read as a whole
KEPT = 2  # row groups in memory: two threads may be at a boundary
_STARTS = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp"}


class TableShard:
    """The rows of a table. Thread-safe; only the row groups that are asked for are read, remote ones too.

    Attributes:
        index: one entry per row, without members.
    """

    def __init__(self, url: str, form: Format) -> None:
        """Open a table and read its keys.

        Args:
            url: path or fsspec URL.
            form: what is wanted of its records.

        Raises:
            StorageError: the file cannot be read at all.
        """
        self.url, self.form = url, form
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()
        path = local_path(url)
        try:
            self._file = fsspec.open(url if path is None else path, "rb", compression=None).open()
        except Exception as error:  # every remote store has its own
            raise storage_error(url, error) from error
        try:
            self._table = pq.ParquetFile(self._file)
        except (pa.ArrowException, OSError) as error:
            self._file.close()
            self._check(error)
            self.index = ShardIndex((), truncated=f"no whole Parquet file ({first_line(error)})")
            return
        twice = repeated_column(self._table.schema_arrow.names)
        if twice is not None:
            self.index = ShardIndex((), truncated=f"not read at all: column {printable(twice)} stands twice")
            return
        self._roles, self._columns = self._chosen(self._table.schema_arrow)
        meta = self._table.metadata
        counts = (meta.row_group(group).num_rows for group in range(meta.num_row_groups))
        self._starts = [0, *accumulate(counts)]
        self.index = ShardIndex(tuple(self._entries()), remarks=self._remarks())

    def record(self, number: int) -> Record:
        """The record of a row; a broken one has ``error``.

        Raises:
            StorageError: the file cannot be read any more.
        """
        entry = self.index.entries[number]
        try:
            members = self._members(self._row(number), entry.key) if entry.error is None else {}
        except BadRecordError as bad:
            return Record(number, entry.key).failed(bad.code, bad.detail)
        content = list(members.values())
        places = {suffix: (place, len(data)) for place, (suffix, data) in enumerate(members.items())}
        return decode(Entry(number, entry.key, places, entry.error), lambda place, size: content[place], self.form)

    def close(self) -> None:
        """Close the file."""
        self._groups.clear()
        self._file.close()

    @staticmethod
    def _chosen(schema: pa.Schema) -> tuple[dict[str, str], list[str]]:
        """Columns by role, and all that are read: pictures without a role are not."""
        pictures = [column.name for column in schema if is_picture(column.type)]
        given = {role: name for role, name in usual_roles({}, pictures, pictures).items() if role in ("image", "mask")}
        rest = usual_roles({}, [column.name for column in schema if not has_bytes(column.type)])
        roles = {**{role: name for role, name in rest.items() if role in ("prompt", "key", "seed")}, **given}
        return roles, [column.name for column in schema if column.name in roles.values() or not has_bytes(column.type)]

    def _remarks(self) -> tuple[str, ...]:
        if "image" in self._roles:
            return ()
        names = ", ".join(self._table.schema_arrow.names)
        return (f"no column of pictures that is called image, or the only one; its columns are {names}",)

    def _entries(self) -> list[Entry]:
        """Keys by row; where they cannot be read, the rows fail."""
        entries: list[Entry] = []
        unique = UniqueKeys()
        for group in range(len(self._starts) - 1):
            first, stop = self._starts[group : group + 2]
            keys: list[Any] = [None] * (stop - first)
            error = None
            if "key" in self._roles:
                try:
                    found = self._table.read_row_group(group, [self._roles["key"]], use_threads=False)
                    keys = found[self._roles["key"]].to_pylist()
                except (pa.ArrowException, OSError, ValueError) as damage:
                    self._check(damage)
                    error = f"bad_table: {first_line(damage)}"
            wanted = (f"{first + place:08d}" if is_empty(key) else str(key) for place, key in enumerate(keys))
            entries += [Entry(first + place, unique.make(key), {}, error) for place, key in enumerate(wanted)]
        return entries

    def _row(self, number: int) -> Mapping[str, Any]:
        group = bisect_right(self._starts, number) - 1
        try:
            return self._group(group).slice(number - self._starts[group], 1).to_pylist()[0]
        except (pa.ArrowException, OSError, ValueError) as error:
            self._check(error)
            raise BadRecordError("bad_table", first_line(error)) from error

    def _group(self, group: int) -> pa.Table:
        size = self._table.metadata.row_group(group).total_byte_size
        if size > MAX_GROUP_BYTES:
            raise BadRecordError("too_large", f"a row group of {size} bytes, at most {MAX_GROUP_BYTES} can be read")
        with self._lock:
            if group not in self._groups:
                self._groups[group] = self._table.read_row_group(group, self._columns, use_threads=False)
            self._groups.move_to_end(group)
            while len(self._groups) > KEPT:
                self._groups.popitem(last=False)
            return self._groups[group]

    def _members(self, row: Mapping[str, Any], key: str) -> dict[str, bytes]:
        """The row as the members that it would have in a tar."""
        members: dict[str, bytes] = {}
        image = self._picture(row, "image")
        if image is None:
            raise BadRecordError("missing_image", self._missing(row))
        members[next((suffix for start, suffix in _STARTS.items() if image.startswith(start)), "png")] = image
        mask = self._picture(row, "mask")
        if mask is not None:
            members["mask.png"] = mask
        code = "bad_text"
        try:
            prompt = Captions().choose(row.get(self._roles.get("prompt", "")), key)
            code = "bad_seed"
            facts = row_facts(row, self._roles, key)
        except ValueError as error:
            raise BadRecordError(code, error) from error
        if prompt is not None:
            members["txt"] = prompt.encode("utf-8", "replace")
        if facts:
            members["json"] = json.dumps(facts).encode()
        return members

    def _picture(self, row: Mapping[str, Any], role: str) -> bytes | None:
        cell = row.get(self._roles.get(role, ""))
        data = cell.get("bytes") if isinstance(cell, Mapping) else cell
        return data if isinstance(data, bytes) and data else None

    def _missing(self, row: Mapping[str, Any]) -> str:
        if "image" not in self._roles:
            return "the table has no column of pictures"
        cell = row.get(self._roles["image"])
        named = isinstance(cell, Mapping) and cell.get("path")
        more = "; its path is not followed, fcs-pack makes shards of such tables" if named else ""
        return f"no bytes in column {self._roles['image']}{more}"

    def _check(self, error: Exception) -> None:
        """Raise what the storage is to blame for; Arrow's own complaints about damage have no number."""
        if isinstance(error, OSError) and error.errno is not None:
            raise storage_error(self.url, error) from error

"""The columns of a table: those that the user names, and how a row becomes a record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.shards.input.cell_values import Captions, is_empty, path_of, picture
from fcs.shards.input.table_roles import row_facts, tidy, usual_roles
from fcs.tools.pack.source_record import SourceRecord
from fcs.tools.pack.table_files import Row, Table

_LONGEST = 120  # characters of a path in a message


def column_roles(given: Mapping[str, str | None], names: Sequence[str], pictures: Sequence[str] = ()) -> dict[str, str]:
    """The column of each role that the table has one for; see ``usual_roles``.

    Args:
        given: column by role, where the user said it.
        names: columns of the table.
        pictures: those among them that hold encoded pictures.

    Raises:
        UsageError: a column that the table does not have, or none for the image, or several.
    """
    found = usual_roles(
        {role: _named(role, column, names) for role, column in given.items() if column is not None}, names, pictures
    )
    if "image" not in found:
        unused = [name for name in pictures if name not in found.values()]
        some = ", ".join(unused or names)
        raise UsageError(f"--image-column: expected one of {some}; none of them is usual for images")
    return found


def roles_text(columns: Mapping[str, str], tables: Sequence[Table]) -> str:
    """What serves as what, in one line."""
    names = list(dict.fromkeys(name for table in tables for name in table.names))
    unkept = {name for table in tables for name in table.unkept}
    roles = {role: columns.get(role, "none") for role in ("image", "prompt", "mask", "key", "seed")}
    rest = [name for name in names if name not in columns.values()]
    kept = [name for name in rest if name not in unkept]
    dropped = [f"{name} (bytes)" for name in rest if name in unkept]
    lists = {"KEY.json": kept, "left out": dropped}
    texts = roles | {what: ", ".join(which) for what, which in lists.items() if which}
    return "; ".join(
        [", ".join(f"{role}: {texts.pop(role)}" for role in roles), *(f"{a}: {b}" for a, b in texts.items())]
    )


def table_records(
    tables: Iterable[Table], columns: Mapping[str, str], captions: Captions | None = None
) -> Iterator[SourceRecord]:
    """One record per row.

    Args:
        tables: read one after the other.
        columns: column by role.
        captions: which of several captions is the prompt (the first).
    """
    number = 0
    for table in tables:
        for place, row in enumerate(table.rows(), 1):
            yield _record(row, columns, table.path, number, f"{table.path}, record {place}", captions or Captions())
            number += 1


def _named(role: str, column: str, names: Sequence[str]) -> str:
    alike = [name for name in names if name == column] or [name for name in names if tidy(name) == tidy(column)]
    if len(alike) != 1:
        raise UsageError.of(f"--{role}-column", column, f"a column of {', '.join(names)}", names)
    return alike[0]


def _record(
    row: Row, columns: Mapping[str, str], table: Path, number: int, name: str, captions: Captions
) -> SourceRecord:
    if isinstance(row, str):
        return SourceRecord(name, "", error=row)
    values = {role: row.get(column) for role, column in columns.items()}
    role = "image"
    try:
        image = picture(values["image"], table.parent)
        if image is None:
            raise ValueError("no path and no bytes")
        key = _key(values.get("key"), values["image"], number)
        role = "mask"
        mask = picture(values.get("mask"), table.parent)
        role = "prompt"
        prompt = captions.choose(values.get("prompt"), key)
        role = "seed"
        facts = row_facts(row, columns, key)
    except ValueError as error:
        return SourceRecord(name, "", error=f"column {columns[role]}: {error}")
    return SourceRecord(
        name=f"{name} ({_short(str(image))})" if isinstance(image, Path) else name,
        key=key,
        image=image,
        mask=mask,
        prompt=None if prompt is None else prompt.encode("utf-8", "replace"),
        facts=json.dumps(facts).encode() if facts else None,
    )


def _key(given: Any, image: Any, number: int) -> str:
    if not is_empty(given):
        return str(given)
    path = path_of(image)
    if path is None:
        return f"{number:08d}"
    stem = Path(path).with_suffix("")
    return stem.name if stem.is_absolute() or path.startswith("~") else stem.as_posix()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"...{text[-_LONGEST:]}"

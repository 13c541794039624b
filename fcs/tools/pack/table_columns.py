"""The columns of a table: which one is the image, the mask, ... and how a row becomes a record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError
from fcs.tools.pack.source_record import SourceRecord, valid_key

# What a column can be for, and the names that it has if nothing else is said; the first that is there counts.
ROLES = {
    "image": ("image", "image_path", "path", "file_name", "filename", "file", "img"),
    "mask": ("mask", "mask_path"),
    "prompt": ("prompt", "caption", "text"),
    "key": ("key", "id", "__key__"),
    "seed": ("seed",),
}
_SEEDS = 2**63


def column_roles(given: Mapping[str, str | None], names: Sequence[str], pictures: Sequence[str] = ()) -> dict[str, str]:
    """The column of each role that the table has one for.

    Args:
        given: column by role, where the user said it.
        names: columns of the table.
        pictures: those among them that hold encoded pictures.

    Raises:
        UsageError: a column that the table does not have, or none for the image.
    """
    found = {}
    for role, usual in ROLES.items():
        column = given.get(role)
        if column is not None and column not in names:
            raise UsageError.of(f"--{role}-column", column, f"a column of {', '.join(names)}", names)
        column = column or next((name for name in usual if name in names), None)
        if column is not None:
            found[role] = column
    free = [name for name in pictures if name not in found.values()]
    if "image" not in found and free:
        found["image"] = free[0]
    if "image" not in found:
        raise UsageError(f"--image-column: expected one of {', '.join(names)}; none of them is usual for images")
    return found


def table_records(
    rows: Iterable[Mapping[str, Any] | str], columns: Mapping[str, str], table: Path
) -> Iterator[SourceRecord]:
    """One record per row.

    Args:
        rows: value by column; a string instead of a row says why it could not be read.
        columns: column by role.
        table: paths are relative to its folder.
    """
    for number, row in enumerate(rows):
        name = f"{table}, record {number + 1}"
        if isinstance(row, str):
            yield SourceRecord(name, "", error=row)
            continue
        try:
            yield _record(row, columns, table.parent, number, name)
        except ValueError as error:
            yield SourceRecord(name, "", error=str(error))


def _record(row: Mapping[str, Any], columns: Mapping[str, str], base: Path, number: int, name: str) -> SourceRecord:
    values = {role: row.get(column) for role, column in columns.items()}
    image = _content(values["image"], base)
    if image is None:
        raise ValueError(f"no path and no bytes in column {columns['image']}")
    key = _key(values.get("key"), values["image"], number)
    prompt = values.get("prompt")
    facts = {column: value for column, value in row.items() if column not in columns.values()}
    if values.get("key") not in (None, "") and valid_key(key) != str(values["key"]):
        facts[columns["key"]] = values["key"]  # it could not be kept as the key
    if values.get("seed") not in (None, ""):
        facts["seed"] = _seed(values["seed"])
    plain = {column: _plain(value) for column, value in facts.items() if not _is_bytes(value)}
    return SourceRecord(
        name=f"{name} ({image})" if isinstance(image, Path) else name,
        key=key,
        image=image,
        mask=_content(values.get("mask"), base),
        prompt=None if prompt is None else str(prompt).encode("utf-8", "replace"),
        facts=json.dumps(plain).encode() if plain else None,
    )


def _content(value: Any, base: Path) -> Path | bytes | None:
    """Bytes, a path, or datasets' struct of either."""
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        value = path if data is None else data
    if isinstance(value, str) and value:
        return base / value
    return value if isinstance(value, bytes) else None


def _key(given: Any, image: Any, number: int) -> str:
    if given is not None and given != "":
        return str(given)
    path = image.get("path") if isinstance(image, Mapping) else image
    if not isinstance(path, str) or not path:
        return f"{number:08d}"
    stem = Path(path).with_suffix("")
    return stem.name if stem.is_absolute() else stem.as_posix()


def _seed(value: Any) -> int:
    try:
        seed = int(value.removesuffix(".0")) if isinstance(value, str) else value
        if seed == int(seed) and 0 <= seed < _SEEDS and not isinstance(seed, bool):
            return int(seed)
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"seed {value!r}, expected an integer from 0 to 2^63 - 1")


def _is_bytes(value: Any) -> bool:
    """Encoded pictures and the like, which JSON has no place for."""
    return isinstance(value, bytes) or (isinstance(value, Mapping) and any(map(_is_bytes, value.values())))


def _plain(value: Any) -> Any:
    """The value as JSON has it; dates and decimals as text, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)

"""The columns of a table of pictures: which one is the image, the mask, ... and what the others say of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from fcs.shards.input.cell_values import holds_bytes, is_empty, plain, seed_of
from fcs.shards.input.valid_keys import valid_key

# What a column can be for, and the names that it has if nothing else is said; the first that is there counts.
ROLES = {
    "image": ("image", "image_path", "path", "file_name", "filename", "file", "img", "png", "jpg", "jpeg", "webp"),
    "mask": ("mask", "mask_path", "mask.png"),
    "prompt": ("prompt", "caption", "text", "txt"),
    "key": ("key", "id", "__key__"),
    "seed": ("seed",),
}


def usual_roles(given: Mapping[str, str], names: Sequence[str], pictures: Sequence[str] = ()) -> dict[str, str]:
    """The column of each role that the table has one for.

    Capitals and spaces around a name make no difference, unless two columns differ in nothing else. Where no column has
    a usual name for the image, the only one that holds pictures is it.

    Args:
        given: column by role, where it is known.
        names: columns of the table.
        pictures: those among them that hold encoded pictures.
    """
    found = dict(given)
    free = [name for name in names if name not in found.values()]
    for role, usual in ROLES.items():
        exact = next((name for name in usual if name in free), None)
        column = exact or next((name for one in usual for name in free if tidy(name) == one), None)
        if role not in found and column is not None:
            found[role] = column
    unused = [name for name in pictures if name not in found.values()]
    if "image" not in found and len(unused) == 1:
        found["image"] = unused[0]
    return found


def tidy(name: str) -> str:
    """A column's name as it is compared."""
    return name.strip().casefold()


def is_picture(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded pictures: bytes, or structs of bytes and path."""
    if pa.types.is_struct(kind) and "bytes" in [kind.field(i).name for i in range(kind.num_fields)]:
        kind = kind.field("bytes").type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def has_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds bytes anywhere, which JSON has no place for."""
    inner = [kind.field(i).type for i in range(kind.num_fields)]
    return is_picture(kind) or any(map(has_bytes, inner))


def row_facts(row: Mapping[str, Any], columns: Mapping[str, str], key: str) -> dict[str, Any]:
    """What stands in the other columns, the seed, and the key where it could not be kept as it is."""
    facts = {column: value for column, value in row.items() if column not in columns.values()}
    given = {role: row.get(columns[role]) for role in ("key", "seed") if role in columns}
    if not is_empty(given.get("key")) and valid_key(key) != str(given["key"]):
        facts[columns["key"]] = given["key"]
    if not is_empty(given.get("seed")):
        facts["seed"] = seed_of(given["seed"])
    return {column: plain(value) for column, value in facts.items() if not holds_bytes(value)}

"""Names that stand twice where each should stand once: which of two was meant is anyone's guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, for ``json.loads(object_pairs_hook=...)``.

    Raises:
        ValueError: a key stands twice in it.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def repeated_column(names: Iterable[str]) -> str | None:
    """The first name that several columns of a table have; spreadsheets leave some without any, which are passed."""
    return next((name for name, count in Counter(names).items() if count > 1 and name.strip()), None)

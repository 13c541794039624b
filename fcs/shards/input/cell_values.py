"""What the cells of a table are: pictures, captions, seeds, facts."""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcs.core.seeds import EXPECTED, whole_seed

_ENCODED = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "SUkqA", "TU0AK")  # PNG, JPEG, WebP, GIF, TIFF in base64
_SHORTEST = 64  # characters of a picture in base64
_TOLD = ("caption", "text", "raw")  # what holds the caption in a dict
_LIST = 64 << 10  # characters of a list that is written as text
_DEEP = 4  # lists and dicts in each other that a caption may lie in


@dataclass(frozen=True)
class Captions:
    """Which of several captions is the prompt.

    Attributes:
        number: counted from 1; None for any, fixed by the seed and the record's key.
        seed: for that.
    """

    number: int | None = 1
    seed: int = 0

    def choose(self, value: Any, key: str) -> str | None:
        """The caption of a cell, or None where it holds none.

        Args:
            value: text, or a list of texts, also as JSON or Python write one, or dicts that hold them.
            key: of the record.

        Raises:
            ValueError: the cell holds something else, or fewer captions than ``number``.
        """
        found = list(_captions(value, _DEEP))
        if not found:
            return None
        if self.number is None:
            digest = hashlib.sha256(f"{self.seed}\0caption\0{key}".encode("utf-8", "replace")).digest()
            return found[int.from_bytes(digest[:8], "big") % len(found)]
        if self.number > len(found):
            raise ValueError(f"captions: {len(found)}, number {self.number} is asked for")
        return found[self.number - 1]


def _captions(value: Any, levels: int) -> Iterator[str]:
    if is_empty(value):
        return
    if isinstance(value, str):
        listed = _written_list(value)
        yield from [value] if listed is None else [text for text in listed if text.strip()]
    elif isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError("bytes that are no UTF-8") from error
        yield from _captions(text, levels)
    elif isinstance(value, list | tuple) and levels:
        for inner in value:
            yield from _captions(inner, levels - 1)
    elif isinstance(value, Mapping) and levels and any(name in value for name in _TOLD):
        yield from _captions(next(value[name] for name in _TOLD if name in value), levels - 1)
    elif isinstance(value, Mapping | list | tuple):
        raise ValueError(f"a {type(value).__name__}, expected text or a list of texts")
    else:
        yield str(value)


def _written_list(text: str) -> list[str] | None:
    """The texts of a list that was written as text, or None where it is none."""
    if not (text.startswith("[") and text.rstrip().endswith("]") and len(text) <= _LIST):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd backslashes
                found = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    texts = isinstance(found, list) and found and all(isinstance(one, str) for one in found)
    return found if texts else None


def picture(value: Any, base: Path) -> Path | bytes | None:
    """A picture's file or its content, or None where the cell is empty.

    Args:
        value: bytes, a path, base64, datasets' struct of bytes and path, or a list of one of these.
        base: what paths are relative to.

    Raises:
        ValueError: it is something else.
    """
    value = _only(value)
    if isinstance(value, Mapping) and ("bytes" in value or "path" in value):
        data, path = value.get("bytes"), value.get("path")
        value = path if data is None else data
    if isinstance(value, bytes):
        return value
    if is_empty(value):
        return None
    if not isinstance(value, str):
        number = f" of {len(value)}" if isinstance(value, list | tuple) else ""
        raise ValueError(f"a {type(value).__name__}{number}, expected a path or the bytes of one picture")
    data = _from_base64(value)
    return base / os.path.expanduser(value) if data is None else data


def path_of(value: Any) -> str | None:
    """The path that a cell with a picture names, or None."""
    value = _only(value)
    path = value.get("path") if isinstance(value, Mapping) else value
    return path if isinstance(path, str) and path and _from_base64(path) is None else None


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _from_base64(text: str) -> bytes | None:
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise ValueError("a data: URL without base64")
    elif len(text) < _SHORTEST or not text.startswith(_ENCODED):
        return None
    packed = "".join(text.split())
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def seed_of(value: Any) -> int:
    """A cell as a record's seed.

    Raises:
        ValueError: it is none.
    """
    try:
        return whole_seed(int(value.removesuffix(".0")) if isinstance(value, str) else value)
    except ValueError as error:
        raise ValueError(f"seed {str(value)[:40]!r}, {EXPECTED}") from error


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing: null, NaN, blank text, no bytes, an empty list."""
    if isinstance(value, str | bytes):
        return not value.strip()
    if isinstance(value, Mapping | list | tuple):
        return all(map(is_empty, value.values() if isinstance(value, Mapping) else value))
    return value is None or (isinstance(value, float) and math.isnan(value))


def holds_bytes(value: Any) -> bool:
    """Encoded pictures and the like, which JSON has no place for."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bytes) or any(map(holds_bytes, inner))


def plain(value: Any) -> Any:
    """The value as JSON has it; dates and decimals as text, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)

"""What is said of keys and values; nothing here needs torch, so that it can be said before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fcs.core.errors import UsageError, nearest
from fcs.core.foreign_names import our_key


def plain(value: Any) -> str:
    """A value as a user writes it."""
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    if isinstance(value, Mapping) and "init_args" in value:
        return ",".join(f"{key}:{item}" for key, item in value["init_args"].items())
    return str(value)


def unknown_key(name: str, value: Any, names: Sequence[str]) -> UsageError:
    """The error of a key that does not exist, with the one that was meant as far as that can be told.

    Args:
        name: with dots.
        value: what was to be set.
        names: keys and sections that exist.
    """
    ours = our_key(name)
    near = nearest(name, names) or nearest(name.rpartition(".")[2], names)
    hint = f"; here it is called {ours}" if ours else f"; did you mean {near}?" if near else "; --help lists them"
    return UsageError(f"{name}={plain(value)}: expected a known key{hint}")


def missing_key(name: str, expected: str) -> UsageError:
    """The error of a key that has no default and no value."""
    return UsageError(f"{name}: expected {expected}, found nothing; it has no default")

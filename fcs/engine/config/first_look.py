"""A first look at a configuration: keys that are missing or unknown are said before torch is imported.

It knows the keys from the list that ``--help`` prints. Values, and the arguments of classes, are checked later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcs.core.package_files import KEYS
from fcs.engine.config.messages import missing_key, unknown_key
from fcs.engine.config.read_config import parse_override, read, refusing_depth

# Keys that every configuration has are indented by two, the arguments of classes deeper.
_LISTED = re.compile(r"  (\S+)  \((.*); (required|default .*)\)")


@dataclass(frozen=True)
class ListedKey:
    """A key as ``--help`` lists it.

    Attributes:
        expected: its type in words.
        required: whether it has no default.
    """

    expected: str
    required: bool


def listed_keys() -> dict[str, ListedKey]:
    """The keys that every configuration has, by name with dots."""
    lines = KEYS.read_text().partition("\n\n")[2].splitlines()
    found = filter(None, map(_LISTED.fullmatch, lines))
    return {match[1]: ListedKey(match[2], match[3] == "required") for match in found}


def first_look(names: Sequence[str], overrides: Sequence[str]) -> set[str]:
    """The keys that files and overrides set, which are checked to exist and to be all that have no default.

    Args:
        names: configuration files, or names of shipped ones.
        overrides: ``key=value`` or ``--key=value``.

    Raises:
        UsageError: a file that is none, an override without ``=``, a key that does not exist or has no value.
    """
    keys = listed_keys()
    given: set[str] = set()
    with refusing_depth():
        for tree in [*map(read, names), *map(parse_override, overrides)]:
            for name, value in _leaves(tree, keys):
                if name not in keys:
                    raise unknown_key(name, value, [*keys, *_sections(keys)])
                given.add(name)
    for name, key in keys.items():
        if key.required and name not in given and not (name == "out" and names):
            raise missing_key(name, key.expected)
    return given


def _sections(keys: Mapping[str, ListedKey]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in keys if "." in name))


def _leaves(tree: Mapping[str, Any], keys: Mapping[str, ListedKey], where: str = "") -> Iterator[tuple[str, Any]]:
    """The keys that a tree sets, and what it sets them to; what lies below a key is its value."""
    for part, value in tree.items():
        name = f"{where}.{part}".removeprefix(".")
        if name in keys or name not in _sections(keys):
            yield name, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, keys, name)

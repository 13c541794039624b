"""Which packages a configuration may import classes from. Importing runs code, so a file alone does not decide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fcs.core.errors import UsageError

OWN = "fcs"
OPTION = "--allow-imports"


def packages(given: Iterable[str]) -> list[str]:
    """The packages that the option names; each value is one package, or several separated by commas.

    Raises:
        UsageError: a value that cannot be the name of a package.
    """
    names = [name.strip() for value in given for name in value.split(",")]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError.of(OPTION, name, "a package, or several separated by commas")
    return names


def named(tree: Any) -> set[str]:
    """The packages of all class paths in a part of a configuration."""
    return {path.partition(".")[0] for _, path in _class_paths("", tree)}


def check(tree: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse class paths of packages that were not allowed; called before anything is imported.

    Args:
        tree: the whole configuration, interpolations filled in.
        allowed: packages besides ``fcs``.

    Raises:
        UsageError: with the key, the class path, and the option that would allow it.
    """
    known = [OWN, *allowed]
    for where, path in _class_paths("", tree):
        if not any(path.startswith(f"{package}.") for package in known):
            package = path.partition(".")[0]
            raise UsageError.of(where, path, f"a class of {OWN}; {OPTION} {package} allows this one")


def _class_paths(where: str, tree: Any) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key == "class_path":
                yield where, str(value)
            else:
                yield from _class_paths(where if key == "init_args" else f"{where}.{key}".removeprefix("."), value)
    elif isinstance(tree, list):
        for item in tree:
            yield from _class_paths(where, item)

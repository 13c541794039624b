"""The list of all keys in ``--help``. It is kept in a file, since making it imports torch, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

from fcs.core.discovery import submodules
from fcs.engine.config.class_names import KINDS, shipped
from fcs.engine.config.keys import Key, parameters, run_keys, words
from fcs.engine.config.load_config import ALIASES


def written() -> str:
    """The file's content: the modules that were scanned for classes, a package a line; an empty line; the keys."""
    packages = [kind.package for kind in KINDS.values() if kind.package.startswith("fcs.")]
    return "\n".join([*(f"{name}: {' '.join(submodules(name))}" for name in packages), "", describe()])


def describe() -> str:
    """Every key with type, default and meaning, and those of all classes that have a short name."""
    lines: list[str] = []
    for key in run_keys():
        lines += _describe(key)
        for where, kind in KINDS.items():
            below = where == key.name or where.startswith(f"{key.name}.")
            lines += _describe_classes(where) if below and kind.package.startswith("fcs.") else ()
    return "\n".join(lines) + "\n"


def _describe_classes(where: str) -> Iterator[str]:
    for name, owner in shipped(where).items():
        own = [f"    {line}" for key in parameters(owner, f"{where}.") for line in _describe(key)]
        yield from ([f"    with {where}={name}:", *own] if own else [])


def _describe(key: Key) -> list[str]:
    kind = KINDS.get(key.name)
    expected = f"{', '.join(shipped(key.name))} or a class path" if kind else words(key.type)
    default = "required" if key.required else f"default {_default(key)}"
    names = " = ".join([key.name, *(short for short, long in ALIASES.items() if long == key.name)])
    return [f"  {names}  ({expected}; {default})", f"      {key.meaning}"]


def _default(key: Key) -> str:
    if key.default is None:
        kind = KINDS.get(key.name)
        return (kind and kind.default) or "null"
    if isinstance(key.default, tuple):
        return str(list(key.default))
    return str(key.default).lower() if isinstance(key.default, bool) else repr(key.default)

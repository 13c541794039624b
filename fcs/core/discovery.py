"""Classes of a package, found by scanning its modules: a new sampler or task is one new file and no edit elsewhere."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def classes(package: str, base: type) -> dict[str, type]:
    """The classes below ``base`` that a package's modules define, by name; ``base`` itself is not one of them.

    Args:
        package: dotted name of a package, or of a module.
        base: what all of them inherit from.

    Raises:
        ImportError: two classes of one name.
    """
    found: dict[str, type] = {}
    for path in [package, *(f"{package}.{name}" for name in submodules(package))]:
        module = import_module(path)
        for name, item in vars(module).items():
            own = inspect.isclass(item) and item.__module__ == module.__name__
            if not own or name.startswith("_") or base not in item.__mro__[1:]:
                continue
            if name in found:
                raise ImportError(f"{package}: {name} is in {found[name].__module__} and in {module.__name__}")
            found[name] = item
    return dict(sorted(found.items()))


def submodules(package: str) -> list[str]:
    """Names of the modules that lie in a package, none of which is imported; empty for a plain module."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        folders = getattr(loaded, "__path__", [])
    else:
        spec = find_spec(package)
        folders = (spec and spec.submodule_search_locations) or []
    return sorted(found.name for found in pkgutil.iter_modules(folders))


def attributes(package: str, base: type) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__``, by which it offers its ``classes`` and ``base`` as its own.

    The modules are scanned when a name is asked for, so importing the package alone loads none of them.
    """

    def offered(name: str) -> Any:
        if name == "__all__":  # for ``from package import *``
            return [base.__name__, *classes(package, base)]
        found = {} if name.startswith("_") else classes(package, base)
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return found[name]

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *classes(package, base)})

    return offered, names


def known_as(owner: type) -> str:
    """A class's name in configurations and pinned runs: its own, unless it has a ``known_as``."""
    return str(vars(owner).get("known_as", owner.__name__))

"""The keys that choose a class, and the names that a class has: short, as a path, and in a pinned run."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_type_hints

from torch import Tensor

from fcs.core.directions import Direction
from fcs.core.discovery import classes, known_as
from fcs.core.errors import UsageError, first_line
from fcs.core.operators.base import Operator
from fcs.engine.config.logger import Logger
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task


@dataclass(frozen=True)
class Kind:
    """What may stand at a key that chooses a class.

    Attributes:
        package: whose classes have short names there.
        base: what they inherit from, and what any other class must inherit from.
        default: short name of the class that is meant where a configuration gives arguments only.
    """

    package: str
    base: type
    default: str | None = None


KINDS = {
    "task": Kind("fcs.tasks", Task),
    "task.operator": Kind("fcs.core.operators", Operator),
    "sampler": Kind("fcs.samplers", Sampler),
    "sampler.direction": Kind("fcs.core.directions", Direction, "newton"),
    "trainer.logger": Kind("lightning.pytorch.loggers", Logger),
}


def shipped(where: str) -> dict[str, type]:
    """The classes that may be chosen at a key by a short name, sorted by it."""
    kind = KINDS[where]
    if kind.package.startswith("fcs."):
        offered = [item for item in classes(kind.package, kind.base).values() if _fits_in_a_file(item)]
    else:  # another library's package says itself what it offers
        module = import_module(kind.package)
        offered = [getattr(module, name) for name in module.__all__ if name != kind.base.__name__]
    return dict(sorted((known_as(item).lower(), item) for item in offered))


def class_path(where: str, name: str) -> str:
    """The class path that a short name or a class path means at a key.

    Raises:
        UsageError: a short name that no class has.
    """
    if "." in name:
        return name
    known = shipped(where)
    if name.lower() not in known:
        raise UsageError.of(where, name, f"{', '.join(known)} or a class path", known)
    return f"{KINDS[where].package}.{known[name.lower()].__name__}"


def imported(where: str, path: str) -> Any:
    """What lies at a class path.

    Raises:
        UsageError: it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # a module of the user's own may raise anything
        names = [f"{KINDS[where].package}.{item.__name__}" for item in shipped(where).values()]
        raise UsageError.of(where, path, f"a class that can be imported ({first_line(error)})", names) from error


def stable_path(where: str, path: str) -> str:
    """How a pinned run names a class of ours: ``fcs.KIND.NAME``, as in ``fcs.directions.Newton``.

    It does not say in which module the class lies, so a run goes on when modules are moved or classes renamed. A
    class of another package keeps its path.
    """
    package = KINDS[where].package
    if not package.startswith("fcs.") or not path.startswith(f"{package}."):
        return path
    return f"fcs.{package.rpartition('.')[2]}.{known_as(imported(where, path))}"


def path_of(stable: str) -> str:
    """The class path that ``stable_path`` made a name of; a class path of another package is its own."""
    for where, kind in KINDS.items():
        short = stable.removeprefix(f"fcs.{kind.package.rpartition('.')[2]}.").lower()
        if kind.package.startswith("fcs.") and short in shipped(where):
            return class_path(where, short)
    return stable


def _fits_in_a_file(owner: type) -> bool:
    """Whether a class can be written in a configuration: tensors cannot, and an abstract one cannot be made."""
    return not inspect.isabstract(owner) and Tensor not in get_type_hints(owner.__init__).values()  # type: ignore[misc]

"""The schema of a configuration: the keys of ``Run`` and of the classes that it may choose, from their annotations."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
from lightning.pytorch.loggers import Logger
from torch import Tensor

from fcs.core.directions import Direction
from fcs.core.discovery import classes
from fcs.core.errors import UsageError
from fcs.core.operators.base import Operator
from fcs.engine.config.run import Run
from fcs.samplers.base import Sampler
from fcs.tasks.base import Task

CLASSES = {
    "task": "fcs.tasks",
    "task.operator": "fcs.core.operators",
    "sampler": "fcs.samplers",
    "sampler.direction": "fcs.core.directions",
    "trainer.logger": "lightning.pytorch.loggers",
}
BASES: dict[str, type] = {
    "task": Task,
    "task.operator": Operator,
    "sampler": Sampler,
    "sampler.direction": Direction,
    "trainer.logger": Logger,
}
DEFAULTS = {"sampler.direction": "newton"}  # the class of a section that gives arguments only
# A key that belongs to a part of its section: the Newton direction's delta.
INNER = {"sampler": {"difference": "direction"}}
TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number, 0 or above",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number, 0 or above",
    "ClosedUnitInterval": "a number from 0 to 1",
    "NoneType": "null",
}


@dataclass(frozen=True)
class Key:
    """One key of the schema.

    Attributes:
        name: with dots.
        type: its annotation.
        default: or ``inspect.Parameter.empty``.
        meaning: from the docstring.
    """

    name: str
    type: Any
    default: Any
    meaning: str


def class_path(where: str, name: str) -> str:
    """The class that a short name or a path means in section ``where``."""
    if "." in name:
        return name
    known = shipped(where)
    if name.lower() not in known:
        raise UsageError.of(where, name, f"{', '.join(known)} or a class path", known)
    return f"{CLASSES[where]}.{known[name.lower()].__name__}"


def shipped(where: str) -> dict[str, type]:
    """The classes that a section may name in lower case."""
    chosen = [item for item in _public(where) if not inspect.isabstract(item) and _from_text(item)]
    return {known_as(item).lower(): item for item in sorted(chosen, key=lambda item: known_as(item).lower())}


def known_as(owner: type) -> str:
    """A class's name in configurations and pinned runs: its own, unless it says another."""
    return str(vars(owner).get("known_as", owner.__name__))


def stable_path(where: str, path: str) -> str:
    """How a pinned run names the class at ``path``, chosen in section ``where``: ``fcs.KIND.NAME``.

    It does not say in which module the class lies, so a run goes on when modules are moved or classes renamed.
    """
    package = CLASSES[where]
    if not path.startswith("fcs.") or not path.startswith(f"{package}."):
        return path
    module, _, name = path.rpartition(".")
    return f"fcs.{package.rpartition('.')[2]}.{known_as(getattr(import_module(module), name))}"


def path_of(stable: str) -> str:
    """The class path that ``stable_path`` made a name of; a class path of another package is its own."""
    _, _, rest = stable.partition("fcs.")
    kind, _, name = rest.partition(".")
    where = next((where for where, module in CLASSES.items() if module.rpartition(".")[2] == kind), None)
    if not stable.startswith("fcs.") or where is None:
        return stable
    return class_path(where, name.lower()) if name.lower() in shipped(where) else stable


def base(where: str) -> type:
    """The class that all classes of a section are made of."""
    return BASES[where]


def _public(where: str) -> list[type]:
    package = import_module(CLASSES[where])
    if CLASSES[where].startswith("fcs."):
        return list(classes(CLASSES[where], BASES[where]).values())
    return [getattr(package, name) for name in package.__all__ if name != BASES[where].__name__]


def _from_text(owner: type) -> bool:
    """Whether a class can be written in a configuration: tensors cannot."""
    return all(key.type is not Tensor for key in _parameters(owner, ""))


def keys() -> Iterator[Key]:
    """Every plain key of the schema, in the order of ``Run``; classes' own arguments are in ``class_keys``."""
    for key in _parameters(Run, ""):
        if is_dataclass(key.type):
            yield from _parameters(key.type, f"{key.name}.")
        else:
            yield key


def class_keys(owner: type, where: str) -> list[Key]:
    """The arguments of a class that a section chose."""
    return list(_parameters(owner, f"{where}."))


def _parameters(owner: Any, prefix: str) -> Iterator[Key]:
    try:
        hints = get_type_hints(owner if is_dataclass(owner) else owner.__init__)  # type: ignore[misc]
    except NameError as error:  # a class with a name that only the type checker sees: the user's own, or a logger
        hints = {}
        if not owner.__module__.startswith("lightning."):
            raise UsageError.of(
                prefix.rstrip("."), owner.__qualname__, f"annotations that resolve ({error})"
            ) from error
    documented = {p.arg_name: p.description or "" for p in docstring_parser.parse(owner.__doc__ or "").params}
    for name, parameter in inspect.signature(owner).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue  # another library's *args and **kwargs have no names that a file could use
        meaning = " ".join(documented.get(name, "").split())
        yield Key(prefix + name, hints.get(name, Any), parameter.default, meaning)


def words(kind: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(words(argument) for argument in arguments)
    if origin in (list, tuple, Sequence):
        return f"a list, each {words(arguments[0])}"
    if origin is not None or not hasattr(kind, "__name__"):
        return str(kind)
    name = kind.__name__.lower()
    return TYPE_WORDS.get(kind.__name__, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


def describe() -> str:
    """Every key with type, default and meaning, for --help."""
    lines = []
    for key in keys():
        lines += _describe(key)
        for where in CLASSES:
            if (where == key.name or where.startswith(f"{key.name}.")) and CLASSES[where].startswith("fcs."):
                lines += _describe_classes(where)
    return "\n".join(lines)


def _describe_classes(where: str) -> list[str]:
    lines = []
    for name, owner in shipped(where).items():
        own = class_keys(owner, where)
        lines += [f"    with {where}={name}:"] if own else []
        lines += [f"    {line}" for key in own for line in _describe(key)]
    return lines


def _describe(key: Key) -> list[str]:
    names = f"{', '.join(shipped(key.name))} or a class path" if key.name in CLASSES else words(key.type)
    default = "required" if key.default is inspect.Parameter.empty else f"default {_shown(key)}"
    spellings = [
        key.name,
        *(f"{s}.{i}" for s, inner in INNER.items() for i, t in inner.items() if key.name == f"{s}.{t}.{i}"),
    ]
    return [f"  {' = '.join(spellings)}  ({names}; {default})", f"      {key.meaning}"]


def _shown(key: Key) -> str:
    if key.default is None:
        return DEFAULTS.get(key.name, "null")
    if isinstance(key.default, tuple):
        return str(list(key.default))
    return str(key.default).lower() if isinstance(key.default, bool) else repr(key.default)

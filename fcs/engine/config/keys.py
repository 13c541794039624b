"""The keys of a configuration: the fields of ``Run`` and the arguments of the classes that it chooses."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser

from fcs.core.errors import UsageError
from fcs.engine.config.class_names import KINDS, imported
from fcs.engine.config.run import Run

WORDS = {
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
    """One key of a configuration.

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

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def takes_text(self) -> bool:
        """Whether text may stand there, so that a bare whole number is that text."""
        choices = get_args(self.type)
        return str in (self.type, *choices) or all(isinstance(choice, str) for choice in choices or (None,))


@cache
def run_keys() -> tuple[Key, ...]:
    """The keys that every configuration has, in the order of ``Run``."""
    found: list[Key] = []
    for key in parameters(Run, ""):
        found += parameters(key.type, f"{key.name}.") if is_dataclass(key.type) else [key]
    return tuple(found)


def keys_of(tree: Mapping[str, Any]) -> dict[str, Key]:
    """The keys that one configuration may have, by name: those of ``Run`` and of the classes that it chooses.

    Raises:
        UsageError: a class that cannot be imported, or whose annotations do not resolve.
    """
    found = {key.name: key for key in run_keys()}
    for where, kind in KINDS.items():
        section = value_at(tree, where)
        if isinstance(section, Mapping) and "class_path" in section:
            owner = imported(where, str(section["class_path"]))
            if inspect.isclass(owner) and issubclass(owner, kind.base):
                found |= {key.name: key for key in parameters(owner, f"{where}.")}
    return found


def value_at(tree: Any, name: str) -> Any:
    """The value of a key in the tree, None where there is none."""
    for part in name.split("."):
        if isinstance(tree, Mapping) and "init_args" in tree:
            tree = tree["init_args"]
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def parameters(owner: Any, prefix: str) -> Iterator[Key]:
    """The arguments of a class as keys below ``prefix``.

    Raises:
        UsageError: annotations that do not resolve.
    """
    try:
        hints = get_type_hints(owner if is_dataclass(owner) else owner.__init__)
    except NameError as error:  # a name that only the type checker sees: in a class of the user's own, or a logger
        hints = {}
        if not owner.__module__.startswith("lightning."):
            expected = f"annotations that resolve ({error})"
            raise UsageError.of(prefix.rstrip("."), owner.__qualname__, expected) from error
    documented = {p.arg_name: p.description or "" for p in docstring_parser.parse(owner.__doc__ or "").params}
    for name, parameter in inspect.signature(owner).parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):  # these have no names for a file
            meaning = " ".join(documented.get(name, "").split())
            yield Key(prefix + name, hints.get(name, Any), parameter.default, meaning)


def words(kind: Any) -> str:
    """An annotation in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(words(argument) for argument in arguments)
    if origin is dict:
        return "a mapping"
    if origin in (list, tuple, Sequence):
        return f"a list, each {words(arguments[0])}"
    if origin is not None or not hasattr(kind, "__name__"):
        return str(kind)
    name = kind.__name__.lower()
    return WORDS.get(kind.__name__, f"{'an' if name[0] in 'aeiou' else 'a'} {name}")


SECTIONS = list(dict.fromkeys(key.name.partition(".")[0] for key in run_keys() if "." in key.name))

"""From the tree of a configuration to its Run: jsonargparse checks it against annotations, each mistake in one line."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from fcs.core.errors import UsageError, first_line, nearest
from fcs.engine.config.run import Run
from fcs.engine.config.schema import CLASSES, DEFAULTS, base, class_keys, class_path, keys, shipped, words


def at(tree: Any, path: Sequence[str]) -> Any:
    """The value of a key in the tree, None where there is none."""
    for part in path:
        if isinstance(tree, Mapping) and "init_args" in tree:
            tree = tree["init_args"]
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def check_names(tree: Mapping[str, Any]) -> None:
    """Unknown keys, each with the nearest valid one."""
    known = {key.name: key for key in keys()}
    groups = {name.split(".")[0] for name in known if "." in name}
    for key, value in tree.items():
        if key in CLASSES:
            _check_class(key, value)
        elif key in groups and isinstance(value, Mapping):
            for inner in value:
                _check_name(f"{key}.{inner}", value[inner], known)
                if f"{key}.{inner}" in CLASSES and value[inner] is not None:
                    _check_class(f"{key}.{inner}", value[inner])
        elif key in groups:
            raise UsageError.of(key, value, f"keys below it, such as {next(k for k in known if k.startswith(key))}")
        else:
            _check_name(key, value, [*known, *groups])


def _check_name(name: str, value: Any, known: Iterable[str]) -> None:
    if name not in known:
        raise _unknown(name, value, known)


def spell_out(tree: Mapping[str, Any]) -> None:
    """A whole number where text is wanted is that text: ``precision: 32`` in a file, ``${seed}`` in a path."""
    for key in keys():
        section, _, name = key.name.rpartition(".")
        given = tree.get(section) if section else tree
        takes_text = str in (key.type, *get_args(key.type)) or get_origin(key.type) is Literal
        if takes_text and isinstance(given, dict) and type(given.get(name)) is int:
            given[name] = str(given[name])


def _check_class(where: str, section: Any) -> None:
    if not isinstance(section, Mapping) or "class_path" not in section:
        names = ", ".join(shipped(where))
        raise UsageError.of(where, plain(section), f"a class: {names} or a class path")
    owner = _import_class(where, str(section["class_path"]))
    arguments = class_keys(owner, where)
    known = {key.name for key in arguments}
    for key in arguments:
        if key.default is inspect.Parameter.empty and key.name.rpartition(".")[2] not in section.get("init_args", {}):
            raise UsageError(f"{key.name}: expected {words(key.type)}, found nothing; it has no default")
    for name, value in section.get("init_args", {}).items():
        if f"{where}.{name}" not in known:
            raise _unknown(f"{where}.{name}", value, sorted(known))
        if f"{where}.{name}" in CLASSES and value is not None:
            if isinstance(value, dict) and f"{where}.{name}" in DEFAULTS:
                value.setdefault("class_path", class_path(f"{where}.{name}", DEFAULTS[f"{where}.{name}"]))
            _check_class(f"{where}.{name}", value)


def _import_class(where: str, path: str) -> type:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a module of the user's own may raise anything
        names = [f"{CLASSES[where]}.{item.__name__}" for item in shipped(where).values()]
        raise UsageError.of(where, path, f"a class that can be imported ({first_line(error)})", names) from error
    if not inspect.isclass(found):
        raise UsageError.of(where, path, "a class")
    if not issubclass(found, base(where)):
        raise UsageError.of(where, path, f"a {base(where).__name__.lower()}")
    if inspect.isabstract(found):
        raise UsageError.of(where, path, f"a {base(where).__name__.lower()} that has all of its methods")
    return found


def _unknown(name: str, value: Any, known: Iterable[str]) -> UsageError:
    near = nearest(name, known) or nearest(name.rsplit(".", 1)[-1], known)
    hint = f"; did you mean {near}?" if near else "; --help lists them"
    return UsageError(f"{name}={plain(value)}: expected a known key{hint}")


def plain(value: Any) -> str:
    """A value as a user writes it."""
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    if isinstance(value, Mapping) and "init_args" in value:
        return ",".join(f"{key}:{item}" for key, item in value["init_args"].items())
    return str(value)


def _name(value: Any) -> str:
    """A default of another library's class that is no plain data, by a name that is the same in every process."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Run, as_group=False)
    return parser


def build(tree: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """The checked run of a tree, and its settings with all defaults as plain data.

    Raises:
        UsageError: a missing key, a wrong type or value.
    """
    for key in keys():
        section, _, name = key.name.rpartition(".")
        given = tree.get(section, {}) if section else tree
        if key.default is inspect.Parameter.empty and (not isinstance(given, Mapping) or name not in given):
            raise UsageError(f"{key.name}: expected {words(key.type)}, found nothing; it has no default")
    parser = _parser()
    try:
        config = parser.parse_object(tree)
    except ArgumentError as error:
        raise _explain(str(error), tree) from error
    # Through JSON: the restricted numbers of jsonargparse become plain ones.
    settings = json.loads(json.dumps(config.as_dict(), default=_name))
    _check_values("", settings)
    try:
        run = Run(**vars(parser.instantiate(config)))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(_qualified(_innermost(error), tree)) from error
    return run, settings


def _check_values(name: str, value: Any) -> None:
    """Refuse what no file can hold: numbers that are none, text that is no UTF-8 or has a zero byte in it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_values(name if key == "init_args" else f"{name}.{key}".removeprefix("."), item)
    elif isinstance(value, list):
        for item in value:
            _check_values(name, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError.of(name, value, "a finite number")
    elif isinstance(value, str) and ("\0" in value or not _is_utf8(value)):
        raise UsageError.of(name, ascii(value), "text in UTF-8 without zero bytes")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _innermost(error: BaseException) -> str:
    """What the class's own constructor said, below what the parser made of it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return first_line(error)


def _qualified(message: str, tree: Mapping[str, Any]) -> str:
    """A constructor's ``argument=value: ...`` with the section that the argument stands in."""
    argument = message.partition("=")[0]
    for where in CLASSES:
        section: Any = tree
        for part in where.split("."):
            section = (section.get(part) or {}) if isinstance(section, Mapping) else {}
            section = section.get("init_args", {}) if isinstance(section, Mapping) else {}
        if argument in section:
            return f"{where}.{message}"
    return message


def _explain(message: str, tree: Mapping[str, Any]) -> UsageError:
    """The message of jsonargparse as one line."""
    path = [part for found in re.findall(r'Parser key "([^"]+)"', message) for part in found.split(".")]
    name = ".".join(path)
    expected = {key.name: words(key.type) for key in keys()}
    for where in CLASSES:
        section = at(tree, where.split("."))
        chosen = [_import_class(where, section["class_path"])] if isinstance(section, Mapping) else []
        for owner in [*shipped(where).values(), *chosen]:
            expected |= {key.name: words(key.type) for key in class_keys(owner, where)}
    reason = message.strip().splitlines()[-1].strip()
    return UsageError.of(
        name or "configuration", plain(at(tree, path)), expected.get(name, f"another value ({reason})")
    )

"""Configuration: files and overrides become one checked Run.

OmegaConf reads the files and resolves interpolation, jsonargparse checks the result against the annotations of
``Run`` and builds its objects. Ours are the short names, the raw text of overrides, and one line for each mistake.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcs.errors import UsageError, first_line, nearest
from fcs.run import Run
from fcs.schema import CLASSES, DEFAULTS, INNER, base, class_keys, class_path, keys, shipped, words

PACKAGE = Path(__file__).parent
# A wheel holds the configs inside the package; in a checkout they lie beside it.
CONFIGS = next((p for p in (PACKAGE / "configs", PACKAGE.parent / "configs") if p.is_dir()), PACKAGE / "configs")


def load(names: list[str], overrides: list[str]) -> tuple[Run, dict[str, Any]]:
    """The run that files and overrides describe, and its resolved settings as plain data.

    Args:
        names: configuration files, or names of shipped ones; later ones win.
        overrides: ``key=value`` or ``--key=value``; they win over files, later ones over earlier.

    Raises:
        UsageError: one line that names the key, the value, what was expected and the nearest valid name.
    """
    tree: dict[str, Any] = {"out": f"runs/{Path(names[-1]).stem}"} if names else {}
    for name in names:
        tree = merge(tree, canonical(_read(name)))
    for override in sorted(overrides, key=_rank):
        tree = merge(tree, canonical(_parse_override(override)))
    tree = _resolve(tree)
    _check_names(tree)
    _spell_out(tree)
    return _build(tree)


def _read(name: str) -> dict[str, Any]:
    # os.path answers where Path raises: for a name too long for the file system.
    path = Path(name) if os.path.isfile(name) else CONFIGS / f"{name}.yaml"
    if not os.path.isfile(path):
        shipped = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
        raise UsageError.of("--config", name, f"a file or a shipped config ({', '.join(shipped)})", shipped)
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"--config={name}: expected YAML ({_what_yaml_says(error)})") from error
    if not isinstance(content, dict):
        raise UsageError.of("--config", name, "a mapping of keys to values")
    for key, value in content.items():
        if "." in str(key):  # would be read by nobody
            raise UsageError.of(str(key), value, f"in a file, keys below keys; dots are for the command line ({name})")
    return {str(key): value for key, value in content.items()}


def _what_yaml_says(error: Exception) -> str:
    """What is wrong, and in which line; the first line of the error itself often says neither."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return first_line(error)


def _parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as ``{a: {b: value}}``; the value stays as typed, its type decides later what it is."""
    key, equals, value = text.removeprefix("--").partition("=")
    if not equals or not key:
        raise UsageError(f"{text}: expected key=value")
    tree: Any = value
    for part in reversed(key.split(".")):
        if not part:
            raise UsageError(f"{text}: expected a key without empty parts")
        tree = {part: tree}
    return tree  # type: ignore[no-any-return]


def _rank(override: str) -> int:
    """Choices of a class come before arguments, which they would otherwise drop; else the order as given."""
    key = override.removeprefix("--").partition("=")[0]
    return key.count(".") if key in CLASSES else 2


def canonical(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that choose a class, in any of their short spellings, as ``class_path`` and ``init_args``."""
    return {key: _section(key, value) if key in CLASSES else value for key, value in tree.items()}


def _section(where: str, value: Any) -> Any:
    if isinstance(value, str):
        return {"class_path": class_path(where, value), "init_args": {}}
    if not isinstance(value, Mapping):
        return value
    given = {key: item for key, item in value.items() if key not in ("class_path", "init_args")}
    listed = value.get("init_args") or {}
    if not isinstance(listed, Mapping):
        raise UsageError.of(f"{where}.init_args", listed, "keys below it: the arguments of the class")
    arguments = {**listed, **given}
    for name, inner in INNER.get(where, {}).items():
        if name in arguments:
            moved = {"init_args": {name: arguments.pop(name)}}
            arguments[inner] = merge(_section(f"{where}.{inner}", arguments.get(inner, {})), moved)
    for name in arguments:
        if f"{where}.{name}" in CLASSES:
            arguments[name] = _section(f"{where}.{name}", arguments[name])
    section: dict[str, Any] = {"init_args": arguments}
    if "class_path" in value:
        section["class_path"] = class_path(where, str(value["class_path"]))
    return section


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``. Where another class is chosen, the arguments of the old one go."""
    merged = dict(below)
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        merged.pop("init_args", None)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _resolve(tree: dict[str, Any]) -> dict[str, Any]:
    """Interpolations filled in: keys of the configuration with their defaults, and ``${package}``."""
    defaults: dict[str, Any] = {}
    for key in keys():
        if key.default is not inspect.Parameter.empty and key.name not in CLASSES and not is_dataclass(key.type):
            section, _, name = key.name.rpartition(".")
            (defaults.setdefault(section, {}) if section else defaults)[name] = key.default
    try:
        everything = OmegaConf.create({"package": str(PACKAGE), **merge(defaults, tree)})
        return {key: _interpolate(everything, key, value) for key, value in tree.items()}
    except OmegaConfBaseException as error:
        raise _unresolved(error, tree) from error


def _unresolved(error: OmegaConfBaseException, tree: Mapping[str, Any]) -> UsageError:
    path = [part for part in str(error.full_key or "").split(".") if part != "init_args"]
    expected = f"a value, or an interpolation that resolves ({first_line(error)})"
    return UsageError.of(".".join(path) or "configuration", _plain(_at(tree, path)), expected)


def _at(tree: Any, path: Sequence[str]) -> Any:
    """The value of a key in the tree, None where there is none."""
    for part in path:
        if isinstance(tree, Mapping) and "init_args" in tree:
            tree = tree["init_args"]
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _interpolate(everything: Any, place: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _interpolate(everything, f"{place}.{key}", item) for key, item in value.items()}
    found = OmegaConf.select(everything, place, throw_on_missing=True)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def _check_names(tree: Mapping[str, Any]) -> None:
    """Unknown keys, each with the nearest valid one."""
    known = {key.name: key for key in keys()}
    groups = {name.split(".")[0] for name in known if "." in name}
    for key, value in tree.items():
        if key in CLASSES:
            _check_class(key, value)
        elif key in groups and isinstance(value, Mapping):
            for inner in value:
                _check_name(f"{key}.{inner}", value[inner], known)
        elif key in groups:
            raise UsageError.of(key, value, f"keys below it, such as {next(k for k in known if k.startswith(key))}")
        else:
            _check_name(key, value, [*known, *groups])


def _check_name(name: str, value: Any, known: Iterable[str]) -> None:
    if name not in known:
        raise _unknown(name, value, known)


def _spell_out(tree: Mapping[str, Any]) -> None:
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
        raise UsageError.of(where, _plain(section), f"a class: {names} or a class path")
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
    return UsageError(f"{name}={_plain(value)}: expected a known key{hint}")


def _plain(value: Any) -> str:
    """A value as a user writes it."""
    if isinstance(value, Mapping) and "class_path" in value:
        return str(value["class_path"])
    if isinstance(value, Mapping) and "init_args" in value:
        return ",".join(f"{key}:{item}" for key, item in value["init_args"].items())
    return str(value)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Run, as_group=False)
    return parser


def _build(tree: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
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
    settings = json.loads(json.dumps(config.as_dict()))
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
        section = _at(tree, where.split("."))
        chosen = [_import_class(where, section["class_path"])] if isinstance(section, Mapping) else []
        for owner in [*shipped(where).values(), *chosen]:
            expected |= {key.name: words(key.type) for key in class_keys(owner, where)}
    reason = message.strip().splitlines()[-1].strip()
    return UsageError.of(
        name or "configuration", _plain(_at(tree, path)), expected.get(name, f"another value ({reason})")
    )


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Resolved settings as YAML that ``--config`` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(settings)))  # quotes text that looks like a number

"""Configuration: files and overrides become one tree, the tree one checked Run.

OmegaConf reads the files and resolves interpolation; ``checks`` builds the run. Ours are the short names and the raw
text of overrides.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcs.core.errors import UsageError, first_line
from fcs.core.package_files import CONFIGS, PACKAGE, shipped_configs
from fcs.engine.config import allowed_imports
from fcs.engine.config.checks import at, build, check_names, plain, spell_out
from fcs.engine.config.run import Run
from fcs.engine.config.schema import CLASSES, INNER, class_path, keys


def load(names: list[str], overrides: list[str], packages: Sequence[str] = ()) -> tuple[Run, dict[str, Any]]:
    """The run that files and overrides describe, and its resolved settings as plain data.

    Args:
        names: configuration files, or names of shipped ones; later ones win.
        overrides: ``key=value`` or ``--key=value``; they win over files, later ones over earlier.
        packages: whose classes the files may name besides those of ``fcs``. A package that an override names needs
            no further leave: who typed it meant it.

    Raises:
        UsageError: one line that names the key, the value, what was expected and the nearest valid name.
    """
    try:
        return _load(names, overrides, packages)
    except RecursionError as error:
        raise UsageError("configuration: expected keys that are nested less deeply") from error


def _load(names: list[str], overrides: list[str], packages: Sequence[str]) -> tuple[Run, dict[str, Any]]:
    tree: dict[str, Any] = {"out": f"runs/{Path(names[-1]).stem}"} if names else {}
    for name in names:
        tree = merge(tree, canonical(_read(name)))
    typed = [canonical(_parse_override(override)) for override in sorted(overrides, key=_rank)]
    for part in typed:
        tree = merge(tree, part)
    tree = _resolve(tree)
    allowed_imports.check(tree, {*packages, *allowed_imports.named(typed)})
    check_names(tree)
    spell_out(tree)
    return build(tree)


def _read(name: str) -> dict[str, Any]:
    # os.path answers where Path raises: for a name too long for the file system.
    path = Path(name) if os.path.isfile(name) else CONFIGS / f"{name}.yaml"
    if not os.path.isfile(path):
        shipped = shipped_configs()
        raise UsageError.of("--config", name, f"a file or a shipped config ({', '.join(shipped)})", shipped)
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
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
    return {key: _section(key, value) if key in CLASSES else _plain(key, value) for key, value in tree.items()}


def _plain(where: str, value: Any) -> Any:
    """A section of settings, one of which may choose a class; null is none."""
    if not isinstance(value, Mapping):
        return value
    return {name: _choice(f"{where}.{name}", item) for name, item in value.items()}


def _choice(where: str, value: Any) -> Any:
    if where not in CLASSES:
        return value
    return None if value in (None, "null") else _section(where, value)


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
    return UsageError.of(".".join(path) or "configuration", plain(at(tree, path)), expected)


def _interpolate(everything: Any, place: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _interpolate(everything, f"{place}.{key}", item) for key, item in value.items()}
    found = OmegaConf.select(everything, place, throw_on_missing=True)
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Resolved settings as YAML that ``--config`` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(settings)))  # quotes text that looks like a number

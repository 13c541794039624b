"""Configuration files and overrides become one tree, and the tree one checked Run.

OmegaConf reads the files and fills in interpolations; jsonargparse, in ``build_run``, checks types and builds the
objects. Added here are the short names of classes, and overrides whose text stays as it was typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcs.core.errors import UsageError, first_line
from fcs.core.package_files import PACKAGE
from fcs.engine.config import allowed_imports
from fcs.engine.config.build_run import build
from fcs.engine.config.class_names import KINDS, class_path
from fcs.engine.config.keys import SECTIONS, Key, keys_of, run_keys, value_at
from fcs.engine.config.messages import plain
from fcs.engine.config.read_config import parse_override, read, refusing_depth
from fcs.engine.config.run import Run

# A shorter name for a key that lies one level deeper: the Newton direction's delta.
ALIASES = {"sampler.difference": "sampler.direction.difference"}


def load(names: list[str], overrides: list[str], packages: Sequence[str] = ()) -> tuple[Run, dict[str, Any]]:
    """The run that files and overrides describe, and its resolved settings as plain data.

    Args:
        names: configuration files, or names of shipped ones; later ones win.
        overrides: ``key=value`` or ``--key=value``; they win over files, later ones over earlier.
        packages: whose classes the files may choose, besides those of ``fcs``. A package that an override names is
            allowed: whoever typed it meant it.

    Raises:
        UsageError: one line that names the key, the value, what was expected and the nearest valid name.
    """
    with refusing_depth():
        typed = [canonical(parse_override(override)) for override in sorted(overrides, key=_rank)]
        tree: dict[str, Any] = {"out": f"runs/{Path(names[-1]).stem}"} if names else {}
        for part in [*(canonical(read(name)) for name in names), *typed]:
            tree = merge(tree, part)
        tree = _resolve(_with_default_classes(tree))
        allowed_imports.check(tree, {*packages, *allowed_imports.named(typed)})
        known = keys_of(tree)
        return build(_spelled_out(tree, known), known)


def as_yaml(settings: Mapping[str, Any]) -> str:
    """Resolved settings as YAML that ``--config`` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(settings)))  # quotes text that looks like a number


def _rank(override: str) -> int:
    """Choices of a class come before arguments, which they would otherwise drop; else the order as given."""
    key = override.removeprefix("--").partition("=")[0]
    return key.count(".") if key in KINDS else 2


def canonical(tree: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Sections that choose a class, in any of their short spellings, as ``class_path`` and ``init_args``.

    Args:
        tree: keys and values below ``where``.
        where: the name of the section, with dots; empty for the whole configuration.

    Raises:
        UsageError: a short name that no class has, a section of settings that holds none.
    """
    return {key: _canonical_value(f"{where}.{key}".removeprefix("."), value) for key, value in tree.items()}


def _canonical_value(name: str, value: Any) -> Any:
    if name in KINDS:
        return _choice(name, value)
    if name in SECTIONS:
        if not isinstance(value, Mapping):
            first = next(key.name for key in run_keys() if key.name.startswith(f"{name}."))
            raise UsageError.of(name, value, f"keys below it, such as {first}")
        return canonical(value, name)
    return value


def _choice(where: str, value: Any) -> Any:
    """What stands at a key that chooses a class: null, a name, or a mapping."""
    if value in (None, "null"):
        return None
    if isinstance(value, str):
        return {"class_path": class_path(where, value), "init_args": {}}
    if not isinstance(value, Mapping):
        return value
    listed = value.get("init_args") or {}
    if not isinstance(listed, Mapping):
        raise UsageError.of(f"{where}.init_args", listed, "keys below it: the arguments of the class")
    direct = {key: item for key, item in value.items() if key not in ("class_path", "init_args")}
    chosen = {"class_path": class_path(where, str(value["class_path"]))} if "class_path" in value else {}
    return {**chosen, "init_args": _without_aliases(where, canonical({**listed, **direct}, where))}


def _without_aliases(where: str, arguments: dict[str, Any]) -> dict[str, Any]:
    for short, long in ALIASES.items():
        section, name = short.rsplit(".", 1)
        if section == where and name in arguments:
            inner = long.split(".")[-2]
            moved = {"init_args": {name: arguments.pop(name)}}
            arguments[inner] = merge(arguments.get(inner) or {}, moved)
    return arguments


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``. Where another class is chosen, the arguments of the old one go."""
    merged = dict(below)
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        merged.pop("init_args", None)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _with_default_classes(tree: dict[str, Any]) -> dict[str, Any]:
    """The class that is meant where a section gives arguments only."""
    for where, kind in KINDS.items():
        section = value_at(tree, where)
        if kind.default and isinstance(section, dict) and "class_path" not in section:
            section |= {"class_path": class_path(where, kind.default), "init_args": section.pop("init_args")}
    return tree


def _resolve(tree: dict[str, Any]) -> dict[str, Any]:
    """Interpolations filled in: keys of the configuration, which have their defaults here, and ``${package}``."""
    defaults: dict[str, Any] = {}
    for key in run_keys():
        if not key.required and key.name not in KINDS:
            section, _, name = key.name.rpartition(".")
            (defaults.setdefault(section, {}) if section else defaults)[name] = key.default
    try:
        everything = OmegaConf.create({"package": str(PACKAGE), **merge(defaults, tree)})
        resolved = OmegaConf.to_container(everything, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise _unresolved(error, tree) from error
    return {str(key): value for key, value in resolved.items() if key != "package"}  # type: ignore[union-attr]


def _unresolved(error: OmegaConfBaseException, tree: Mapping[str, Any]) -> UsageError:
    name = ".".join(part for part in str(error.full_key or "").split(".") if part != "init_args")
    expected = f"a value, or an interpolation that resolves ({first_line(error)})"
    return UsageError.of(name or "configuration", plain(value_at(tree, name)), expected)


def _spelled_out(tree: Mapping[str, Any], known: Mapping[str, Key], where: str = "") -> dict[str, Any]:
    """A bare whole number where text is wanted as that text: ``precision: 32`` in a file, ``${seed}`` in a path."""
    spelled: dict[str, Any] = {}
    for part, value in tree.items():
        name = where if part == "init_args" else f"{where}.{part}".removeprefix(".")
        if isinstance(value, Mapping):
            spelled[part] = _spelled_out(value, known, name)
        else:
            bare = type(value) is int and name in known and known[name].takes_text
            spelled[part] = str(value) if bare else value
    return spelled

"""Configuration files and overrides as they stand, before anything in them is checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcs.core.errors import UsageError, first_line
from fcs.core.package_files import CONFIGS, shipped_configs


@contextmanager
def refusing_depth() -> Iterator[None]:
    """What goes through a configuration level by level: one that is too deep for it becomes a UsageError."""
    try:
        yield
    except RecursionError as error:
        raise UsageError("configuration: expected keys that are nested less deeply") from error


def read(name: str) -> dict[str, Any]:
    """The tree of a configuration file, or of a shipped one by its name.

    Raises:
        UsageError: there is none, or it is no YAML mapping of keys to values.
    """
    # os.path answers where Path raises: for a name too long for the file system.
    path = Path(name) if os.path.isfile(name) else CONFIGS / f"{name}.yaml"
    if not os.path.isfile(path):
        shipped = shipped_configs()
        raise UsageError.of("--config", name, f"a file or a shipped config ({', '.join(shipped)})", shipped)
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise UsageError(f"--config={name}: expected YAML ({_yaml_problem(error)})") from error
    if not isinstance(content, dict):
        raise UsageError.of("--config", name, "a mapping of keys to values")
    for key, value in content.items():
        if "." in str(key):  # would be read by nobody
            raise UsageError.of(str(key), value, f"in a file, keys below keys; dots are for the command line ({name})")
    return {str(key): value for key, value in content.items()}


def parse_override(text: str) -> dict[str, Any]:
    """``a.b=value`` as ``{a: {b: value}}``; the value stays as typed, its type decides later what it is.

    Raises:
        UsageError: no ``=``, or a key with an empty part.
    """
    key, equals, value = text.removeprefix("--").partition("=")
    if not equals or not key:
        raise UsageError(f"{text}: expected key=value{_meant(text)}")
    tree: Any = value
    for part in reversed(key.split(".")):
        if not part:
            raise UsageError(f"{text}: expected a key without empty parts")
        tree = {part: tree}
    return tree


def _meant(text: str) -> str:
    """What a word without ``=`` was meant to be, where that is plain."""
    config = text in shipped_configs() or text.endswith((".yaml", ".yml"))
    return f"; did you mean --config {text}?" if config else ""


def _yaml_problem(error: Exception) -> str:
    """What is wrong, and in which line; the first line of the error itself often says neither."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return first_line(error)

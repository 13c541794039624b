"""From the tree of a configuration to its Run: jsonargparse checks and builds, each mistake becomes one line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from fcs.core.errors import UsageError, first_line
from fcs.core.texts import is_text
from fcs.engine.config.class_names import KINDS, shipped
from fcs.engine.config.keys import SECTIONS, Key, value_at, words
from fcs.engine.config.messages import missing_key, plain, unknown_key
from fcs.engine.config.run import Run

# What jsonargparse says of a mistake. The keys on the way to it come first, a line each.
ON_THE_WAY = re.compile(r'Parser key "([^"]+)"')
UNKNOWN = re.compile(r"(?:Group '([^']+)' does not accept option|Option) '([^']+)'")
MISSING = re.compile(r"arguments are required: ([^,\s]+)")


def build(tree: dict[str, Any], known: Mapping[str, Key]) -> tuple[Run, dict[str, Any]]:
    """The checked run of a tree, and its settings with all defaults as plain data.

    Args:
        tree: sections that choose a class as ``class_path`` and ``init_args``.
        known: the keys that it may have.

    Raises:
        UsageError: a missing or unknown key, a wrong type or value.
    """
    parser = _parser()
    try:
        config = parser.parse_object(tree)
    except ArgumentError as error:
        raise _explained(str(error), tree, known) from error
    # Through JSON: the restricted numbers of jsonargparse become plain ones.
    settings = json.loads(json.dumps(config.as_dict(), default=_name))
    _check_values("", settings)
    try:
        run = Run(**vars(parser.instantiate(config)))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(_located(_innermost(error), settings, known)) from error
    return run, settings


@cache
def _parser() -> ArgumentParser:
    """Of ``Run``; to make it takes as long as to use it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Run, as_group=False)
    return parser


def _explained(message: str, tree: Mapping[str, Any], known: Mapping[str, Key]) -> UsageError:
    """What jsonargparse says, as one line of ours."""
    name = ".".join(ON_THE_WAY.findall(message))
    if found := UNKNOWN.search(message):
        path = ".".join(filter(None, (name, *found.groups())))
        unknown = path.replace(".init_args.", ".")  # which nobody typed: arguments of a class that was not chosen
        return unknown_key(unknown, value_at(tree, unknown), [*known, *SECTIONS])
    if found := MISSING.search(message):
        name = f"{name}.{found[1]}".removeprefix(".")
        return missing_key(name, words(known[name].type))
    reason = message.strip().splitlines()[-1].strip()
    value = value_at(tree, name) if name else None
    if name in KINDS and not (isinstance(value, Mapping) and "class_path" in value):
        return UsageError.of(name, plain(value), f"a class: {', '.join(shipped(name))} or a class path")
    if name in KINDS:
        kind = KINDS[name].base.__name__.lower()
        return UsageError.of(name, plain(value), f"a {kind}: a class below it that has all of its methods ({reason})")
    expected = words(known[name].type) if name in known else f"another value ({reason})"
    return UsageError.of(name or "configuration", plain(value), expected)


def _innermost(error: BaseException) -> str:
    """What the class's own constructor said, below what the parser made of it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return first_line(error)


def _located(message: str, settings: Mapping[str, Any], known: Mapping[str, Key]) -> str:
    """A constructor's ``argument=value: ...`` with the whole name of the key that the argument is."""
    argument, _, rest = message.partition("=")
    for name in known:
        if name.endswith(f".{argument}") and rest.startswith(f"{value_at(settings, name)}:"):
            return f"{name}={rest}"
    return message


def _name(value: Any) -> str:
    """A default of another library's class that is no plain data, by a name that is the same in every process."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


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
    elif isinstance(value, str) and ("\0" in value or not is_text(value)):
        raise UsageError.of(name, ascii(value), "text in UTF-8 without zero bytes")

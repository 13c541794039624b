"""A run's task, built again from its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from jsonargparse import ArgumentParser

from fcs.engine.config.class_names import path_of
from fcs.tasks.base import Task

_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.\w+)+")  # what might be one


def run_task(settings: Mapping[str, Any]) -> Task | None:
    """A run's task; None where it, or one of its arguments, is a class of another package.

    No code is imported because a file in OUT names it.
    """
    values = [value for key, value in settings.items() if key == "task" or key.startswith("task.")]
    names = [value for value in values if isinstance(value, str) and _CLASS_PATH.fullmatch(value)]
    if "task" not in settings or not names or not all(name.startswith("fcs.") for name in names):
        return None
    tree = _tree(settings, "task")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Task, "task")
    try:
        return cast(Task, parser.instantiate(parser.parse_object({"task": tree})).task)
    except Exception:  # the settings of another version; pictures are shown as they were read then
        return None


def _tree(settings: Mapping[str, Any], key: str) -> Any:
    """A key of the flat settings with the keys below it."""
    value = settings[key]
    if not (isinstance(value, str) and _CLASS_PATH.fullmatch(value)):
        return value
    inner = [name.removeprefix(f"{key}.") for name in settings if name.startswith(f"{key}.")]
    arguments = {name: _tree(settings, f"{key}.{name}") for name in inner if "." not in name}
    return {"class_path": path_of(value), "init_args": arguments}

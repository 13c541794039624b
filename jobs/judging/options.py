"""Options that several jobs have."""

from __future__ import annotations

from fcs.errors import UsageError
from judging.methods import METHODS, Method


def chosen_methods(text: str) -> list[Method]:
    """The methods of a list, or all.

    Raises:
        UsageError: a name that is none.
    """
    names = list(METHODS) if text == "all" else text.split(",")
    for name in names:
        if name not in METHODS:
            raise UsageError.of("--methods", name, f"all, or of {', '.join(METHODS)}", METHODS)
    return [METHODS[name] for name in names]


def budgets(text: str) -> list[int | None]:
    """Budgets of calls; None for the published number of levels.

    Raises:
        UsageError: something that is neither.
    """
    parts = text.split(",")
    if not all(part == "published" or (part.isdigit() and int(part) > 0) for part in parts):
        raise UsageError.of("--calls", text, "numbers above 0, or published")
    return [None if part == "published" else int(part) for part in parts]


def whole(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers, comma separated.

    Raises:
        UsageError: something else.
    """
    if not all(part.isdigit() for part in text.split(",")):
        raise UsageError.of(option, text, "whole numbers, comma separated")
    return tuple(int(part) for part in text.split(","))


def numbers(text: str, option: str) -> list[float]:
    """Numbers, comma separated.

    Raises:
        UsageError: something else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError.of(option, text, "numbers, comma separated") from error

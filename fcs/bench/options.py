"""Lists on the command line."""

from __future__ import annotations

from fcs.core.errors import UsageError


def budgets(text: str) -> list[int | None]:
    """Budgets of calls; None for the published number of levels.

    Raises:
        UsageError: something that is neither.
    """
    parts = text.split(",")
    if not all(part == "published" or (part.isdecimal() and int(part) > 0) for part in parts):
        raise UsageError.of("--calls", text, "whole numbers above 0 or published, comma separated")
    return [None if part == "published" else int(part) for part in parts]


def whole(text: str, option: str, least: int = 0) -> tuple[int, ...]:
    """Whole numbers, comma separated.

    Raises:
        UsageError: something else, or a number below ``least``.
    """
    if not all(part.isdecimal() and int(part) >= least for part in text.split(",")):
        raise UsageError.of(option, text, f"whole numbers, {least} or above, comma separated")
    return tuple(int(part) for part in text.split(","))


def one(text: str, option: str) -> int:
    """A whole number above 0.

    Raises:
        UsageError: something else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise UsageError.of(option, text, "a whole number above 0")
    return int(text)


def numbers(text: str, option: str) -> list[float]:
    """Numbers, comma separated.

    Raises:
        UsageError: something else.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError.of(option, text, "numbers, comma separated") from error

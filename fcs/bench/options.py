"""Lists on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from fcs.core.errors import UsageError

# Keys that a command sets itself by an option, after what it is given.
RUNS = {"seed": "--seeds", "out": "--out", "data.captions": "--captions"}
SUBJECT = {**RUNS, "model.name": "--model", "data.shards": "--data", "data.limit": "--limit"}
OPTIONS = {"compare": SUBJECT, "tune": SUBJECT, "fit": SUBJECT, "ablate": RUNS}


def parted(override: str) -> tuple[str, str]:
    """Key and value of ``key=value``."""
    key, _, value = override.removeprefix("--").partition("=")
    return key, value


def refuse_options(command: str, overrides: Iterable[str]) -> None:
    """Overrides of what the command has an option for, which would be lost or contradict the option.

    Raises:
        UsageError: there is one.
    """
    options = OPTIONS.get(command, {})
    for key, value in map(parted, overrides):
        if key in options:
            raise UsageError.of(key, value, f"the option {options[key]} for that")


def refuse_lost(overrides: Iterable[str], own: Iterable[str], whose: str) -> None:
    """Overrides that would be lost, since what is set after them has the same key.

    Args:
        overrides: as they were given.
        own: what comes after them.
        whose: for the message.

    Raises:
        UsageError: there is one.
    """
    known = dict(map(parted, own))
    for key, value in map(parted, overrides):
        if key in known:
            raise UsageError.of(key, value, f"no value for what {whose} sets itself, here {known[key]}")


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


def listed_seeds(text: str) -> tuple[int, ...]:
    """Seeds, comma separated, each once: the same pictures twice would count as samples that agree.

    Raises:
        UsageError: something else.
    """
    found = whole(text, "--seeds")
    if len(set(found)) < len(found):
        raise UsageError.of("--seeds", text, "each seed once")
    return found


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

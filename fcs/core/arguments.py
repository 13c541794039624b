"""Checks of numbers that a class is made with; NaN passes none of them."""

from __future__ import annotations


def at_least(least: float, **given: float) -> None:
    """Check that arguments are not smaller.

    Args:
        least: the smallest value allowed.
        given: arguments by name.

    Raises:
        ValueError: one is.
    """
    for name, value in given.items():
        if not value >= least:
            raise ValueError(f"{name}={value}: expected {least:g} or more")


def above_zero(**given: float) -> None:
    """Check that arguments are positive.

    Raises:
        ValueError: one is not.
    """
    for name, value in given.items():
        if not value > 0:
            raise ValueError(f"{name}={value}: expected a number above 0")


def zero_to_one(**given: float) -> None:
    """Check that arguments are shares, 0 and 1 included.

    Raises:
        ValueError: one is not.
    """
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: expected 0 to 1")

"""Words of a command line, and words for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Timer

from fcs.core.errors import UsageError


def joined(words: Sequence[str], keys: Iterable[str]) -> list[str]:
    """``--key value`` in two words as ``--key=value`` in one.

    Args:
        words: what is left of a command line without the command's own options.
        keys: those that exist, by which ``seed=1`` after an option is known to be no value.
    """
    roots = {key.partition(".")[0] for key in keys}
    found: list[str] = []
    for word in words:
        key, equals, _ = word.partition("=")
        sets = bool(equals) and key.partition(".")[0] in roots
        waits = found and found[-1].startswith("--") and "=" not in found[-1]
        if waits and not word.startswith("--") and not sets:
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def whole(flag: str, text: str, least: int, other: str = "") -> int:
    """The number that an option was given.

    Args:
        flag: the option.
        text: what was typed.
        least: the smallest number that it may be.
        other: what else it could have been, for the message.

    Raises:
        UsageError: it is no such number.
    """
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise UsageError.of(flag, text, f"a whole number, {least} or above{other}")
    return int(text)


@contextmanager
def said_later(text: str, seconds: float, here: bool = True) -> Iterator[None]:
    """Say a text on standard output if what is inside takes longer than so many seconds.

    What ends sooner, a mistake above all, is told in its own one line.

    Args:
        text: the line.
        seconds: until it is said.
        here: whether this process says it at all.
    """
    timer = Timer(seconds, print, [text], {"flush": True})
    timer.daemon = True
    if here:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()

"""The exit codes of all commands, and which of several counts."""

from __future__ import annotations

from collections.abc import Iterable

DONE = 0
USAGE = 2
SOME_FAILED = 3
TOO_MANY_FAILURES = 4
DEFECT = 70
STORAGE = 74
INTERRUPTED = 75
ALL = (DONE, USAGE, SOME_FAILED, TOO_MANY_FAILURES, DEFECT, STORAGE, INTERRUPTED)


def worst(codes: Iterable[int]) -> int:
    """The exit code of several processes together.

    The highest counts, except that a defect hides an interruption: "run the same command again" would be the wrong
    advice. A process that a signal killed (a negative code) was interrupted. A code that is none of ours is a defect.
    """
    known = {INTERRUPTED if code < 0 else code if code in ALL else DEFECT for code in codes}
    if DEFECT in known:
        known.discard(INTERRUPTED)
    return max(known, default=DONE)

"""The ways a run can end early; each has its exit code in ``fcs.core.exit_codes``."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

# What an operating system says of a storage that fails for a reason outside the run.
STORAGE_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP),
        *(errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENOSYS),
    }
)
# And of a name that it takes for none.
NAME_ERRNOS = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


class UsageError(ValueError):
    """A configuration or an input that can be known to be wrong before any shard is opened (exit 2)."""

    @classmethod
    def of(cls, key: str, value: object, expected: str, names: Iterable[str] = ()) -> UsageError:
        """One line: the key, its value, what was expected and the nearest of the valid ``names``."""
        line = f"{key}={short(value)}: expected {expected}"
        near = nearest(str(value), names)
        return cls(f"{line}; did you mean {near}?" if near else line)


class TooManyFailures(RuntimeError):
    """More records failed than ``data.max_failed`` allows (exit 4)."""


class StorageError(OSError):
    """Reading or writing storage failed for a reason outside the run: disk full, permission, link down (exit 74)."""


class Interrupted(RuntimeError):
    """A signal asked the run to stop; the same command continues it (exit 75)."""


class RanksFailed(RuntimeError):
    """Processes that this one started ended badly; each has said why.

    Attributes:
        code: the exit code that counts.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"the ranks ended with exit code {code}")
        self.code = code


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The valid name most like ``name``, or None where none is similar."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return found[0] if found else None


def first_line(error: BaseException) -> str:
    """An exception's message in one line; the name of its class where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def short(value: object) -> str:
    """A value in 80 characters at most; of a long one both ends, since a path says the most in its last part."""
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= 80 else f"{text[:28]}...{text[-49:]}"

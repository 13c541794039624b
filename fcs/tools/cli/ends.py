"""How a command begins and ends: its options, its exit code, one line on stderr where it ends early."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from fcs import __version__
from fcs.core.errors import (
    NAME_ERRNOS,
    STORAGE_ERRNOS,
    Interrupted,
    RanksFailed,
    StorageError,
    TooManyFailures,
    UsageError,
    first_line,
    nearest,
    short,
)
from fcs.core.exit_codes import DEFECT, INTERRUPTED, STORAGE, TOO_MANY_FAILURES, USAGE
from fcs.engine.cpu_threads import wait_quietly

DEAD_DEVICE = "AcceleratorError"  # torch's, for what a GPU reports when it can do nothing more


class Parser(argparse.ArgumentParser):
    """Options of a command; every mistake in them is a UsageError.

    Args:
        name: of the command.
        text: what it does.
        codes: its exit codes.
        add_help: whether argparse makes the help text.
    """

    def __init__(self, name: str, text: str = "", codes: str = "", add_help: bool = True) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(
            name, description=text, epilog=codes, allow_abbrev=False, formatter_class=form, add_help=add_help
        )
        self.add_argument("--version", action="store_true", help="the package's version")

    @property
    def version_line(self) -> str:
        """What ``--version`` prints."""
        return f"{self.prog} {__version__}"

    def with_dashes(self, given: Sequence[str]) -> list[str]:
        """The words, this command's own options with dashes where they were typed with underscores."""
        return [self._dashed(word) for word in given]

    def _dashed(self, word: str) -> str:
        option, equals, value = word.partition("=")
        dashed = option.replace("_", "-")
        own = option.startswith("--") and dashed in self._option_string_actions
        return dashed + equals + value if own else word

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message)

    def read(self, given: Sequence[str]) -> argparse.Namespace | None:
        """The options, or None where ``--help`` or ``--version`` was among them and has been answered.

        Raises:
            UsageError: an option that does not exist, with the nearest that does; one without its value.
        """
        found = self.read_with_overrides(given)
        if found is None:
            return None
        options, overrides = found
        for word in overrides:
            raise UsageError(f"{word}: expected nothing more; --help explains")
        return options

    def read_with_overrides(self, given: Sequence[str]) -> tuple[argparse.Namespace, list[str]] | None:
        """The same for a command that also takes ``key=value``, and those.

        Raises:
            UsageError: as in ``read``.
        """
        if "--help" in given or "-h" in given:
            print(self.format_help(), end="")
            return None
        if "--version" in given:
            print(self.version_line)
            return None
        options, rest = self.parse_known_args(self.with_dashes(given))
        for word in rest:
            if word.startswith("--"):
                near = nearest(word.partition("=")[0], self._option_string_actions)
                raise UsageError(f"{word}: expected an option of --help" + (f"; did you mean {near}?" if near else ""))
            if "=" not in word:
                raise UsageError(f"{word}: expected nothing more; --help explains")
        return options, rest


def ending(name: str, work: Callable[[], int]) -> int:
    """Do the work of a command; returns its exit code. Every way to end early is one line on stderr."""
    wait_quietly()
    _print_anything()
    try:
        return work()
    except UsageError as error:
        return _say(name, USAGE, error)
    except TooManyFailures as error:
        return _say(name, TOO_MANY_FAILURES, error)
    except RanksFailed as error:  # each has said why itself
        return error.code
    except Interrupted as error:
        return _say(name, INTERRUPTED, error)
    except KeyboardInterrupt:
        return _say(name, INTERRUPTED, "stopped by SIGINT")
    except StorageError as error:
        return _say(name, STORAGE, error)
    except BrokenPipeError:
        return _say(name, STORAGE, "standard output was closed")
    except OSError as error:
        if error.errno in STORAGE_ERRNOS:
            return _say(name, STORAGE, error)
        if error.errno in NAME_ERRNOS:
            return _say(name, USAGE, f"{short(error.filename)}: expected another name; {error.strerror}")
        traceback.print_exc()
        return _say(name, DEFECT, f"{type(error).__name__}: {error}")
    except Exception as error:
        if type(error).__name__ == DEAD_DEVICE:  # by name: this must not import torch
            return _say(name, STORAGE, f"the device failed: {first_line(error)}")
        traceback.print_exc()
        return _say(name, DEFECT, f"{type(error).__name__}: {error}")


def _print_anything() -> None:
    """Let standard output escape what it has no letters for, as standard error does: a name must not end a command."""
    with suppress(AttributeError, ValueError, OSError):  # replaced by something else, closed, or moved under Python
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _say(name: str, code: int, reason: object) -> int:
    line = " ".join(str(reason).split())
    print(f"{name}: {line}", file=sys.stderr)
    return code

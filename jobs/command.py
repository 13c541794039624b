"""How a recipe begins and ends: its options and overrides, its exit code, mistakes in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from fcs.bench.trial import RunFailed
from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser, ending


def command(parser: Parser, run: Callable[[argparse.Namespace, list[str]], None]) -> None:
    """Run a recipe with the options and overrides of the command line, and exit."""

    def work() -> int:
        found = parser.read_with_overrides(sys.argv[1:])
        try:
            if found is not None:
                run(*found)
        except RunFailed as error:  # fcs-predict has said why
            return error.code
        return 0

    sys.exit(ending(parser.prog, work))


def refuse(overrides: list[str]) -> None:
    """Refuse overrides, for a recipe that runs no config.

    Raises:
        UsageError: there are some.
    """
    if overrides:
        raise UsageError(f"{overrides[0]}: expected an option of --help; this runs no config")

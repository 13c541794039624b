"""How a recipe begins and ends: its options and overrides, its exit code, mistakes in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from fcs.bench.trial import RunFailed
from fcs.tools.cli.ends import Parser, ending


def command(parser: Parser, run: Callable[[argparse.Namespace], None]) -> None:
    """Run a recipe with the options of the command line, and exit; overrides are refused, since it runs no config."""

    def work() -> None:
        options = parser.read(sys.argv[1:])
        if options is not None:
            run(options)

    _end(parser, work)


def configured(parser: Parser, run: Callable[[argparse.Namespace, list[str]], None]) -> None:
    """Run a recipe with the options of the command line and its overrides of configs, and exit."""

    def work() -> None:
        found = parser.read_with_overrides(sys.argv[1:])
        if found is not None:
            run(*found)

    _end(parser, work)


def _end(parser: Parser, work: Callable[[], None]) -> None:
    def code() -> int:
        try:
            work()
        except RunFailed as error:  # fcs-predict has said why
            return error.code
        return 0

    sys.exit(ending(parser.prog, code))

"""Options that several jobs have."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fcs.bench.methods import METHODS, Method
from fcs.core.errors import UsageError


def command(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace, list[str]], None]) -> None:
    """Run a job with its options and overrides; a mistake in them is one line and exit code 2."""
    args, overrides = parser.parse_known_args()
    try:
        run(args, overrides)
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def analysis_parser(text: str | None) -> argparse.ArgumentParser:
    """The options that every analysis at single points has; ``text`` is the job's own."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits-16", help="model.name (%(default)s)")
    parser.add_argument("--config", help="config whose task makes the error (the model's own half-picture inpainting)")
    parser.add_argument("--levels", default="900,700,500,300", help="t, comma separated (%(default)s)")
    parser.add_argument("--records", type=int, default=4, help="drawn by seed 0 (%(default)s)")
    parser.add_argument("--float32", action="store_true", help="not in float64: for large models on a GPU")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    return parser


def hardware() -> str:
    """What a job ran on, for its figures."""
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def origin() -> dict[str, Any]:
    """Where a job's figures are from: its command, the date, the hardware."""
    return {"command": " ".join(["python", *sys.argv]), "date": time.strftime("%Y-%m-%d"), "hardware": hardware()}


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

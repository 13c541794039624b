"""A bar of network calls where the call was typed: in a terminal, in a notebook, in a log."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

LOGGED_SECONDS = 10.0  # between two lines of the bar where it is written to a file


def bar_of_calls(calls: int, progress: bool) -> Any:
    """A tqdm bar up to ``calls``; of a notebook's own kind where ``ipywidgets`` draws it."""
    notebook = in_notebook()
    kind = _notebooks_own() if notebook and progress and find_spec("ipywidgets") else tqdm
    every = 0.1 if notebook or sys.stderr.isatty() else LOGGED_SECONDS
    return kind(total=calls, desc="sampling", unit="call", disable=not progress, mininterval=every, dynamic_ncols=True)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")  # a terminal's IPython has none


def _notebooks_own() -> Any:
    from tqdm.notebook import tqdm as notebook_bar  # imports IPython

    return notebook_bar

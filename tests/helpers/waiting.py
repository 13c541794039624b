"""Waiting for another process or thread. What a test says never depends on how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable

GUARD = 600.0  # seconds after which something hangs, on the slowest machine too


def wait_until(happens: Callable[[], object]) -> None:
    """Return when ``happens()`` is true; TimeoutError after GUARD."""
    limit = time.monotonic() + GUARD
    while not happens():
        if time.monotonic() > limit:
            raise TimeoutError(f"not within {GUARD:.0f} s")
        time.sleep(0.02)

"""A port that the page can be served on."""

from __future__ import annotations

import socket

from fcs.core.errors import UsageError

FIRST, COUNT = 7860, 100


def free_port(host: str, port: int | None) -> int:
    """The port, or the first free one from 7860 if None.

    Raises:
        UsageError: it is taken, or the address is not this machine's.
    """
    for candidate in range(FIRST, FIRST + COUNT) if port is None else [port]:
        try:
            with socket.create_server((host, candidate)):
                return candidate
        except OSError as error:
            said = error.strerror or str(error)
    raise UsageError.of("--port", port or FIRST, f"one that is free on {host} ({said})")

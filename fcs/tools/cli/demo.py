"""``fcs-demo``: a page to paint on."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from fcs.core.errors import UsageError
from fcs.tools.cli.ends import Parser, ending

HELP = """\
Serves a page on this machine: choose or drop a picture, paint a hole, write a prompt, and watch it filled. It asks no
other machine for anything. End it with Ctrl-C.
"""
CODES = "exit codes: 0 it was ended, 2 usage, 70 defect"
LOOPBACK = "127.0.0.1"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code. Every error is one line on stderr."""
    return ending("fcs-demo", lambda: _demo(sys.argv[1:] if arguments is None else arguments))


def parser() -> Parser:
    """Command line."""
    parser = Parser("fcs-demo", HELP, CODES)
    model = "an embedded model, a diffusers folder, a single-file checkpoint or a hub name (%(default)s)"
    parser.add_argument("--model", metavar="NAME", default="faces-64", help=model)
    parser.add_argument("--port", metavar="N", help="where it listens (a free one from 7860)")
    host = "address that it listens on; another than %(default)s lets other machines in, without a password"
    parser.add_argument("--host", metavar="ADDRESS", default=LOOPBACK, help=host)
    parser.add_argument("--device", metavar="NAME", help="torch's name of it (a GPU where there is one)")
    return parser


def _demo(given: list[str]) -> int:
    options = parser().read(given)
    if options is None:
        return 0
    port = _port(options)
    if find_spec("gradio") is None:
        raise UsageError("expected gradio; pip install '.[demo]'")
    from fcs.api import load
    from fcs.tools.demo.page import serve  # imports gradio

    serve(load(options.model, device=options.device), options.model, options.host, port)
    return 0


def _port(options: argparse.Namespace) -> int | None:
    if options.port is None:
        return None
    if not options.port.isdecimal() or not 1 <= int(options.port) <= 65535:
        raise UsageError.of("--port", options.port, "1 to 65535")
    return int(options.port)

"""Python commands that start at once: ``Popen`` and ``run`` as subprocess has them, without seconds of imports.

Torch and Lightning take ten CPU seconds to import, and a test run starts dozens of processes. Here one process for each
worker of pytest has imported them (``zygote.py``), and commands are forked from it. A forked command is a process like
any other: a child of whoever started it, with its own number, group, session, folder, variables, streams, signals and
exit code; ``fcs`` is imported afresh. What it starts in its turn is forked too, so the ranks of a command are.

What is about the start itself (what is imported, how long ``--help`` takes) belongs to subprocess. What cannot be
forked is started as subprocess does: another program than this Python, options of the interpreter, more than one
thread, other variables than the tests' where libraries read them when they are imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers.waiting import GUARD

# What libraries read when they are imported, and what of that they read later.
EARLY = re.compile(r"(ATEN|CUDA|GOMP|HF|KMP|LC|MKL|MPL|OMP|OPENBLAS|PYTHON|PYTORCH|TORCH|TRITON|XDG)\w*|HOME|LANG")
# Nor do threads wait where there is one.
LATE = re.compile(
    r"PYTHONPATH|TORCHELASTIC_\w+|TORCH_NCCL_ASYNC_ERROR_HANDLING|(TORCHINDUCTOR|TRITON)_CACHE_DIR|OMP_WAIT_POLICY"
)
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TESTS = Path(__file__).parents[1]


def early(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that have been read when a command is forked."""
    return {name: value for name, value in environment.items() if EARLY.fullmatch(name) and not LATE.fullmatch(name)}


class Zygote:
    """The way to the process that forks for this one.

    Attributes:
        channel: takes requests, gives numbers of processes.
        read: the variables with which it has imported what it has imported.
    """

    def __init__(self, channel: socket.socket, read: Mapping[str, str]) -> None:
        self.channel, self.read = channel, read
        self.process: subprocess.Popen[bytes] | None = None
        self._one = threading.Lock()

    @classmethod
    def start(cls) -> Zygote:
        """A new one, with the variables of this process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made = cls(ours, early(os.environ))
        command = [sys.executable, "-P", "-m", "helpers.zygote", str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        with theirs:
            made.process = Started(command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        return made

    def fork(self, request: Mapping[str, Any], handles: Sequence[int]) -> int:
        """The number of a new process, which is a child of this one.

        Args:
            request: what ``zygote.serve`` takes.
            handles: its stdin, stdout and stderr.
        """
        reaper = ctypes.CDLL(None).prctl
        with self._one:
            reaper(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # whose parent ends at once, and leaves it to this process
            try:
                socket.send_fds(self.channel, [json.dumps(request).encode()], handles)
                number = self.channel.recv(32)
            finally:
                reaper(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not number:
            raise RuntimeError("the process that forks has ended; its stderr says why")
        return int(number)


Started = subprocess.Popen  # the real one: a forked process has the other in its place
zygotes: list[Zygote] = []  # one, once a command was forked


def parsed(command: Sequence[str]) -> tuple[str, str, list[str]] | None:
    """How a Python command starts (``-m``, ``-c`` or a file), what it runs, its arguments; None for other commands."""
    if len(command) < 2 or command[0] != sys.executable:
        return None
    rest = list(command[1:])
    if rest[0] == "-P":
        rest.pop(0)
    if rest[0] in ("-m", "-c") and len(rest) > 1:
        return rest[0], rest[1], rest[2:]
    return ("file", rest[0], rest[1:]) if rest[0].endswith(".py") else None


class Popen(Started[Any]):
    """``subprocess.Popen``, whose command is forked where it can be."""

    def _execute_child(  # type: ignore[override]
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, cwd: Any, env: Any, *rest: Any
    ) -> None:
        _, _, shell, *pipes, _, gid, gids, uid, umask, session, group = rest
        command = [os.fsdecode(word) for word in args] if isinstance(args, list | tuple) else []
        variables = dict(os.environ if env is None else env)
        what = parsed(command)
        plain = not (executable or preexec_fn or pass_fds or shell) and close_fds
        plain = plain and (gid, gids, uid, umask) == (None, None, None, -1) and sys.platform == "linux"
        if what is None or not plain or variables.get("OMP_NUM_THREADS") != "1":
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
            return
        if not zygotes:
            zygotes.append(Zygote.start())
        if early(variables) != zygotes[0].read:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
            return
        request = {
            "command": command,
            "what": what,
            "folder": os.path.abspath(cwd or "."),
            "variables": variables,
            "session": session,
            "group": group,
        }
        ends = (pipes[0], pipes[3], pipes[5])
        try:
            handles = [own if handle == -1 else handle for own, handle in enumerate(ends)]
            self.pid = zygotes[0].fork(request, handles)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)


def run(command: Sequence[Any], **options: Any) -> subprocess.CompletedProcess[str]:
    """A command at its end, with what it said as text."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    with Popen(command, **options) as process:
        try:
            said = process.communicate(timeout=GUARD)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, *said)

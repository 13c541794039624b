"""The process that commands of the tests are forked from; ``forked.py`` starts it and says what for.

It imports what takes long, and nothing of fcs. It has one thread, or it would not fork. A forked process leaves the
loop of ``serve`` and goes on as the command, with a folder, variables, a path and arguments of its own. Before that it
leaves a copy of itself behind, which forks the processes that the command starts.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

from helpers import forked

LARGEST = 1 << 17  # bytes of a request
# Not pyarrow: its allocator starts a thread.
LARGE = [
    "torch.utils.data",
    "scipy.signal",
    "scipy.stats",
    "matplotlib.pyplot",
    "transformers",
    "lightning.pytorch.loggers",
    "lightning.pytorch.strategies",
    "diffusers.models.unets.unet_2d",
    "PIL.Image",
    "torch.distributed.run",
    "omegaconf",
    "jsonargparse",
    "fsspec",
    "safetensors.torch",
    "jinja2",
]


def serve(channel: socket.socket) -> dict[str, Any]:
    """Fork a process for each request; returns in a forked process only, with what it is to be."""
    while True:
        data, handles, _, _ = socket.recv_fds(channel, LARGEST, 3)
        if not data:  # whoever asked is gone
            os._exit(0)
        if len(os.listdir("/proc/self/task")) != 1:
            raise RuntimeError("a thread runs, so that nothing may be forked")
        number, told = os.pipe()
        adopted, go = os.pipe()
        middle = os.fork()
        if not middle:
            if os.fork():
                os._exit(0)
            request = json.loads(data)
            stand_alone(request, handles)
            os.write(told, str(os.getpid()).encode())
            os.close(go)
            os.read(adopted, 1)  # until the process that asked is its parent
            for handle in (number, told, adopted, channel.detach()):
                os.close(handle)
            return request
        os.waitpid(middle, 0)
        os.close(told)
        pid = os.read(number, 32)
        for handle in (number, adopted, go, *handles):
            os.close(handle)
        channel.send(pid)


def stand_alone(request: dict[str, Any], handles: list[int]) -> None:
    """What must be so when Popen returns: streams, group and session."""
    for target, handle in enumerate(handles):
        os.dup2(handle, target)
    for handle in handles:
        os.close(handle)
    if request["session"]:
        os.setsid()
    if request["group"] != -1:
        os.setpgid(0, request["group"])


def become(request: dict[str, Any]) -> None:
    """What an interpreter sets up at its start."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    kind, name, arguments = request["what"]
    own = {"-m": request["folder"], "-c": "", "file": os.path.dirname(os.path.abspath(name))}[kind]
    safe = request["command"][1] == "-P"
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [*([] if safe else [own]), *map(os.path.abspath, paths)]
    sys.orig_argv[:] = request["command"]
    sys.argv[:] = [name if kind == "file" else kind, *arguments]
    importlib.invalidate_caches()
    sys.modules["numpy"].random.seed()  # Python's own generator is seeded anew by the fork
    sys.modules["torch"].default_generator.seed()
    sys.modules.pop("sitecustomize", None)
    with suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")


def execute(kind: str, name: str) -> None:
    """Run a module, a program in a string or a file as the main program."""
    if kind == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif kind == "file":
        runpy.run_path(name, run_name="__main__")
    else:
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(name, "<string>", "exec"), main.__dict__)


def left_behind() -> None:
    """A copy that serves a command has none of its streams: who reads them waits until all who hold them have ended."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in range(3):
        os.dup2(nothing, handle)
    os.close(nothing)


def main() -> None:
    sys.path.remove(str(forked.TESTS))  # a command has its own path
    subprocess.Popen = forked.Popen  # type: ignore[misc]  # before libraries are imported: some keep what they find
    read = forked.early(os.environ)
    for name in LARGE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the collector of each forked process would write to, and so copy, all of it
    channel = socket.socket(fileno=int(sys.argv[1]))
    while True:
        request = serve(channel)
        ours, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            break
        ours.close()
        left_behind()
    channel.close()
    forked.zygotes.append(forked.Zygote(ours, read))
    become(request)
    execute(*request["what"][:2])


if __name__ == "__main__":
    main()

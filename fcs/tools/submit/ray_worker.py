"""A worker of a run under Ray: one task, which runs ``fcs-predict`` as a process of its own."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from fcs.core.errors import UsageError
from fcs.core.exit_codes import INTERRUPTED
from fcs.engine.process_info import PARENT, WORKER, WORKERS, without_launchers
from fcs.engine.rank_processes import RankProcesses
from fcs.shards.ledger.retry import LAUNCH


class LostWorker(RuntimeError):
    """A worker's process was killed or told to stop, not by the driver: Ray starts the task again."""


@dataclass(frozen=True)
class WorkerTask:
    """What one of the workers does.

    Attributes:
        words: the arguments of ``fcs-predict``.
        folder: working directory, for relative paths.
        environment: variables besides those of the node.
        number, count: which of how many workers this is.
        launch: a name that all workers of this submission share.
    """

    words: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    number: int
    count: int
    launch: str

    @property
    def command(self) -> list[str]:
        """The process's command line, on the node that the task runs on."""
        return [sys.executable, "-m", "fcs.tools.cli.predict", *self.words]

    def variables(self, node: Mapping[str, str]) -> dict[str, str]:
        """The process's environment: that of the node, without what the launcher of Ray's own processes left in it."""
        own = {WORKER: str(self.number), WORKERS: str(self.count), LAUNCH: self.launch, PARENT: str(os.getpid())}
        return {**without_launchers(node), **self.environment, **own}


def work(task: WorkerTask) -> int:
    """Run a worker to its end; returns its exit code. Signals that this process gets are handed on to it.

    Raises:
        LostWorker: it was killed or interrupted.
        UsageError: this node has no such folder.
    """
    try:
        os.chdir(task.folder)
    except OSError as error:
        raise UsageError.of(
            "working directory", task.folder, f"a folder that {platform.node()} sees too ({error.strerror}); where "
            "all paths of the run are absolute or URLs, start from /"
        ) from error  # fmt: skip
    code = RankProcesses(task.command).run([task.variables(os.environ)])
    if code == INTERRUPTED:
        raise LostWorker("its process was killed or interrupted")
    return code

"""How Lightning starts the ranks of this machine: one a device, by a parent that is no rank itself.

The parent holds no model and computes nothing, so whatever kills a rank costs that rank only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers.launcher import _Launcher

from fcs.core.errors import RanksFailed
from fcs.engine.process_info import PARENT, ProcessInfo
from fcs.engine.rank_environment import rendezvous
from fcs.engine.rank_processes import FINE, RankProcesses, follow_parent


class RankLauncher(_Launcher):
    """Starts the ranks of this machine and waits for them; in a rank, or where there is one only, calls the function.

    Args:
        info: of this process.
        count: ranks to start.
        command: what each rank runs; this process's own command line if left out.
        patience: as of ``RankProcesses``.
    """

    def __init__(
        self, info: ProcessInfo, count: int, command: Sequence[str] | None = None, patience: float | None = None
    ) -> None:
        self.info, self.count = info, count
        own = [sys.executable, *sys.orig_argv[1:]]
        self._ranks = RankProcesses(own if command is None else command, patience)

    @property
    def is_interactive_compatible(self) -> bool:
        return False

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """What the function returns; None in a parent, when its ranks have ended.

        Raises:
            RanksFailed: one of them ended with another code than 0 or 3.
        """
        if PARENT in os.environ:
            follow_parent(int(os.environ[PARENT]))
        if not self.info.may_start or self.count == 1:
            return function(*args, **kwargs)
        code = self._ranks.run(self.environments())
        if code not in FINE:
            raise RanksFailed(code)
        return None

    def kill(self, signum: int) -> None:
        self._ranks.kill(signum)

    def environments(self) -> list[dict[str, str]]:
        """The variables of each rank, by the names that torchrun gives them."""
        address, port = rendezvous(self.info)
        common = {
            "WORLD_SIZE": self.info.world * self.count,
            "LOCAL_WORLD_SIZE": self.count,
            "MASTER_ADDR": address,
            "MASTER_PORT": port,
            PARENT: os.getpid(),
        }
        first = self.info.rank * self.count
        each = [{**common, "RANK": first + local, "LOCAL_RANK": local} for local in range(self.count)]
        return [{**os.environ, **{name: str(value) for name, value in one.items()}} for one in each]

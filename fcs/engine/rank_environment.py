"""What Lightning asks of a cluster, answered from ``ProcessInfo``; and where the ranks of a process group meet."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from fcs.engine.process_info import ProcessInfo

FIRST_PORT, PORTS = 15000, 10000  # as Lightning's own SLURM environment chooses; steps of one job differ too


@dataclass
class RankEnvironment(ClusterEnvironment):
    """The ranks of this process for Lightning, alike under SLURM, torchrun and the command itself.

    Lightning's SLURM environment would requeue jobs and save checkpoints on signals, and ignores jobs named ``bash``.
    """

    info: ProcessInfo = field(default_factory=ProcessInfo.here)

    @property
    def creates_processes_externally(self) -> bool:
        return True  # or by the launcher of the strategy

    @property
    def main_address(self) -> str:
        return rendezvous(self.info)[0]

    @property
    def main_port(self) -> int:
        return rendezvous(self.info)[1]

    @staticmethod
    def detect() -> bool:
        return True

    def world_size(self) -> int:
        return self.info.world

    def set_world_size(self, size: int) -> None:
        """The launcher has decided."""

    def global_rank(self) -> int:
        return self.info.rank

    def set_global_rank(self, rank: int) -> None:
        """The launcher has decided."""

    def local_rank(self) -> int:
        return self.info.local

    def node_rank(self) -> int:
        return self.info.rank // self.info.peers


def rendezvous(info: ProcessInfo) -> tuple[str, int]:
    """Address and port where the ranks of a process group meet: as the launcher says, or by the SLURM step.

    A process that was started alone has nobody to agree with and takes a free port of this machine.
    """
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if info.world == 1:
        return address or "127.0.0.1", int(port or find_free_network_port())
    nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
    number = sum(int(os.environ.get(name) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return (
        address or SLURMEnvironment.resolve_root_node_address(nodes),
        int(port or FIRST_PORT + number % PORTS),
    )

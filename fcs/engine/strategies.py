"""How the ranks of a run belong together: not at all, or as a process group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from fcs.engine.process_info import ProcessInfo
from fcs.engine.rank_environment import RankEnvironment
from fcs.engine.rank_launcher import RankLauncher

T = TypeVar("T")


class IndependentStrategy(ParallelStrategy):
    """Ranks without a process group: each has a device and a number, and whatever ends one leaves the others.

    What Lightning would gather, reduce or broadcast stays with each rank. The ranks must share their work by other
    means, as those of ``ShardDataModule`` do through the run's folder.

    Args:
        parallel_devices: the devices of this node, by local rank; those of ``Trainer(devices=...)`` if left out.
        command: what each rank runs; the script's own command line if left out.
        info: of this process; by its environment if left out.
    """

    strategy_name = "independent"

    def __init__(
        self,
        parallel_devices: list[torch.device] | None = None,
        command: Sequence[str] | None = None,
        info: ProcessInfo | None = None,
    ) -> None:
        self.info = ProcessInfo.here() if info is None else info
        self.command = command
        environment: ClusterEnvironment = RankEnvironment(self.info)
        super().__init__(parallel_devices=parallel_devices, cluster_environment=environment)

    @property
    def devices(self) -> list[torch.device]:
        """Of this node, by local rank."""
        return list(self.parallel_devices or [])

    @property
    def root_device(self) -> torch.device:
        return self.devices[self.local_rank % len(self.devices)]  # a rank may see its own device only

    def set_world_ranks(self) -> None:
        """Tell Lightning's log and loggers which rank this is."""
        rank_zero_only.rank = self.global_rank

    def _configure_launcher(self) -> None:
        self._launcher = RankLauncher(self.info, len(self.devices), self.command)

    def model_to_device(self) -> None:
        assert self.model is not None
        self.model.to(self.root_device)

    def barrier(self, name: str | None = None) -> None:
        """Nobody waits."""

    def broadcast(self, obj: T, src: int = 0) -> T:
        return obj

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        return tensor

    def all_gather(self, tensor: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:
        return tensor

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        return decision


class LaunchedDDPStrategy(DDPStrategy):
    """Lightning's DDP (gloo on CPUs, nccl on GPUs), its ranks started by ``RankLauncher``.

    Under Lightning's own launcher rank 0 is the parent: it ends first, with 0, whatever becomes of the others.

    Args:
        parallel_devices: the devices of this node, by local rank.
        command: what each rank runs.
        info: of this process.
        patience: as of ``RankLauncher``.
    """

    def __init__(
        self, parallel_devices: list[torch.device], command: Sequence[str], info: ProcessInfo, patience: float
    ) -> None:
        super().__init__(parallel_devices=parallel_devices, cluster_environment=RankEnvironment(info))
        self.info, self.command, self.patience = info, command, patience

    def _configure_launcher(self) -> None:
        self._launcher = RankLauncher(self.info, self.num_processes, self.command, self.patience)

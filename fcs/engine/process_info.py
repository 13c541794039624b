"""Which of a run's processes this one is: alone, started by the command on a workstation, or by SLURM.

Ranks share the run's folder and nothing else: their numbers only spread them over its shards and devices. So any
number of tasks, on any nodes, is right as long as each has a device of its own and none of them idles.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from fcs.core.errors import UsageError

# One process a device, started by the command itself, needs no srun; more nodes than its own it does not reach.
WITHOUT_SRUN = "srun fcs-predict ..., which starts a task on each node"


@dataclass(frozen=True)
class ProcessInfo:
    """Which of the run's processes this one is.

    Attributes:
        rank: 0 to world - 1, over all tasks of a job array, their ranks under srun, and the processes of each.
        world: how many there are of those.
        local: 0 to peers - 1, on this node.
        peers: how many were started together on this node.
        started: whether a parent of ours started it.
        speaks: whether it says at the end what the run gave; of those that were started together one does.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    peers: int = 1
    started: bool = False
    speaks: bool = True

    @classmethod
    def here(cls) -> ProcessInfo:
        """From what SLURM and ``launch`` set in the environment; alone where neither did."""
        tasks, task = _number("SLURM_ARRAY_TASK_COUNT", 1), _number("SLURM_ARRAY_TASK_ID")
        rank = (task - _number("SLURM_ARRAY_TASK_MIN", task)) % tasks  # an array's numbers may have holes
        world, own = tasks, 0
        local, peers = 0, 1
        if "SLURM_STEP_NUM_TASKS" in os.environ:
            ranks, own = _number("SLURM_STEP_NUM_TASKS", 1), _number("SLURM_PROCID")
            local, peers = _number("SLURM_LOCALID"), _on_this_node()
            rank, world = rank * ranks + own, world * ranks
        if "FCS_RANK" not in os.environ:
            return cls(rank, world, local, peers, speaks=own == 0)
        local, peers = _number("FCS_RANK"), _number("FCS_WORLD", 1)
        return cls(rank * peers + local, world * peers, local, peers, started=True, speaks=False)


def check(place: ProcessInfo, asked: int | Literal["auto"], gpus: int) -> None:
    """Refuse what SLURM was asked for where processes would share a device, or devices and nodes idle.

    Args:
        place: this process.
        asked: ``trainer.devices``.
        gpus: those that this process sees.

    Raises:
        UsageError: says what to write instead.
    """
    if place.started:
        return
    nodes = _number("SLURM_JOB_NUM_NODES", 1)
    if nodes > 1 and "SLURM_STEP_NUM_TASKS" not in os.environ:
        raise UsageError.of("SLURM_JOB_NUM_NODES", nodes, f"1 for a process without srun; write {WITHOUT_SRUN}")
    if place.peers > 1 and any(map(os.isatty, range(3))):
        raise UsageError(
            f"SLURM_STEP_NUM_TASKS={_number('SLURM_STEP_NUM_TASKS')}: expected 1 for an interactive shell, whose other "
            "tasks do nothing; write srun without --pty, or salloc and then srun fcs-predict ..."
        )
    if place.peers == 1:
        return
    if asked not in ("auto", place.peers):
        expected = f"auto or {place.peers}, the tasks of this node; write srun --ntasks-per-node={asked} for {asked}"
        raise UsageError.of("trainer.devices", asked, expected)
    given = _number("SLURM_GPUS_ON_NODE")
    if given not in (0, place.peers) or gpus not in (0, 1, place.peers):
        many = max(given, gpus)
        raise UsageError(
            f"srun: {place.peers} tasks and {many} GPU{'s' if many > 1 else ''} on this node: expected a task for each "
            f"GPU; write --ntasks-per-node={many} --gpus-per-task=1"
        )


def _on_this_node() -> int:
    """Tasks of this step on this node, from SLURM's ``2(x3),1``: two on each of three nodes, then one."""
    layout: list[int] = []
    for many, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")):
        layout += [int(many)] * int(times or 1)
    node = _number("SLURM_NODEID")
    return layout[node] if node < len(layout) else 1


def _number(name: str, default: int = 0) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default

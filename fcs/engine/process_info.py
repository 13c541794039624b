"""Which of a run's processes this one is, from the variables that its launcher set.

Processes share the run's folder and nothing else: their numbers only spread them over its shards and devices. So any
number of tasks, on any nodes, is right as long as each has a device of its own and none of them idles.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal

from fcs.core.errors import UsageError

PARENT = "FCS_PARENT"  # pid of the process that started this one and that it must not outlive
WORKER, WORKERS = "FCS_WORKER", "FCS_WORKERS"  # number of this job, and of how many, for any launcher of jobs
Launcher = Literal["none", "fcs", "torchrun", "slurm"]


@dataclass(frozen=True)
class LauncherVariables:
    """The environment variables by which a launcher tells a process its rank.

    Attributes:
        rank: 0 to world - 1, over all nodes.
        world: how many processes were started together.
        local: 0 to peers - 1, on this node.
        peers: how many are on this node, or on each node (``2(x3),1``: two on each of three nodes, then one).
        node: number of this node among those of ``peers``; empty where that is this node's alone.
    """

    rank: str
    world: str
    local: str
    peers: str
    node: str = ""


@dataclass(frozen=True)
class ArrayVariables:
    """The variables of jobs that were submitted together and start on their own.

    Attributes:
        index: of this job.
        count: how many there are; empty where nobody says.
        first: the lowest index, which need not be 0; empty where it is.
    """

    index: str
    count: str = ""
    first: str = ""


# torchrun may run inside a SLURM step, so it is asked first. The ranks that a command starts have its variables too.
LAUNCHERS: dict[Launcher, LauncherVariables] = {
    "torchrun": LauncherVariables("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    "slurm": LauncherVariables(
        "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID"
    ),
}
# Ours comes first: Ray, say, may itself have been started by a job array.
ARRAYS = (
    ArrayVariables(WORKER, WORKERS),
    ArrayVariables("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ArrayVariables("JOB_COMPLETION_INDEX"),  # an Indexed Job of Kubernetes
)
# One process a device, started by the command itself, needs no srun; more nodes than its own it does not reach.
WITHOUT_SRUN = "srun fcs-predict ..., which starts a task on each node"


@dataclass(frozen=True)
class ProcessInfo:
    """Which of the run's processes this one is.

    Attributes:
        rank: 0 to world - 1, among those that were started together.
        world: how many there are of those.
        local: 0 to peers - 1, on this node.
        peers: how many were started together on this node.
        launcher: who started it: ``fcs``, a parent of ours; ``none``, nobody that says so.
        job: number of this job among those of an array, 0 to jobs - 1.
        jobs: how many there are of those.
        numbered: a launcher of ``FCS_WORKERS`` started it, Ray for example.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    peers: int = 1
    launcher: Launcher = "none"
    job: int = 0
    jobs: int = 1
    numbered: bool = False

    @classmethod
    def here(cls) -> ProcessInfo:
        """From the environment of this process."""
        job, jobs = _array()
        numbered = WORKER in os.environ
        for launcher, names in LAUNCHERS.items():
            if names.rank in os.environ and names.world in os.environ:
                ours = launcher == "torchrun" and PARENT in os.environ
                rank, world = _number(names.rank), _number(names.world, 1)
                local, peers = _number(names.local), _peers(names)
                return cls(rank, world, local, peers, "fcs" if ours else launcher, job, jobs, numbered)
        return cls(job=job, jobs=jobs, numbered=numbered)

    @property
    def started(self) -> bool:
        """Whether a parent of ours started it."""
        return self.launcher == "fcs"

    @property
    def may_start(self) -> bool:
        """Whether it may start ranks on its node's devices: nobody else has done so."""
        by_torchrun = self.launcher == "torchrun" and "TORCHELASTIC_RUN_ID" in os.environ
        return self.peers == 1 and not self.started and not by_torchrun

    @property
    def speaks(self) -> bool:
        """Whether it says at the end what the run gave; of those that were started together one does.

        Jobs of an array have a log each, and each says it there; numbered workers of a launcher share one terminal.
        """
        return self.rank == 0 and not self.started and not (self.numbered and self.job)

    def overall(self, rank: int, world: int) -> tuple[int, int]:
        """Rank and number of processes over all jobs of an array, from those in this job."""
        return self.job * world + rank, self.jobs * world


def check(info: ProcessInfo, asked: int | Literal["auto"], gpus: int) -> None:
    """Refuse a launch in which processes would share a device, or devices and nodes idle.

    Args:
        info: this process.
        asked: ``trainer.devices``.
        gpus: those that this process sees.

    Raises:
        UsageError: says what to write instead.
    """
    if info.started:
        return
    nodes = _number("SLURM_JOB_NUM_NODES", 1)
    if info.launcher == "none" and nodes > 1:
        raise UsageError.of("SLURM_JOB_NUM_NODES", nodes, f"1 for a process without srun; write {WITHOUT_SRUN}")
    if info.launcher == "slurm" and info.peers > 1 and any(map(os.isatty, range(3))):
        raise UsageError(
            f"SLURM_STEP_NUM_TASKS={info.world}: expected 1 for an interactive shell, whose other "
            "tasks do nothing; write srun without --pty, or salloc and then srun fcs-predict ..."
        )
    if info.may_start:
        return
    option = {"slurm": "srun --ntasks-per-node", "torchrun": "torchrun --nproc_per_node"}[info.launcher]
    if asked not in ("auto", info.peers):
        expected = f"auto or {info.peers}, the processes of this node; write {option}={asked} for {asked}"
        raise UsageError.of("trainer.devices", asked, expected)
    if info.launcher == "torchrun" and 1 < gpus < info.peers:
        raise UsageError(f"torchrun: {info.peers} processes and {gpus} GPUs on this node; write {option}={gpus}")
    given = _number("SLURM_GPUS_ON_NODE")
    if info.launcher == "slurm" and (given not in (0, info.peers) or gpus not in (0, 1, info.peers)):
        many = max(given, gpus)
        raise UsageError(
            f"srun: {info.peers} tasks and {many} GPU{'s' if many > 1 else ''} on this node: expected a task for each "
            f"GPU; write --ntasks-per-node={many} --gpus-per-task=1"
        )


def without_launchers(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what launchers left in it, for a process that is a job of its own.

    Whoever starts processes from within a job of SLURM's or a rank of torchrun's (Ray, say) hands their numbers on,
    the same to each.
    """
    own = {PARENT, "MASTER_ADDR", "MASTER_PORT"}
    own |= {name for names in LAUNCHERS.values() for name in astuple(names)}
    own |= {name for names in ARRAYS for name in astuple(names)}
    return {
        name: value
        for name, value in environment.items()
        if name not in own and not name.startswith(("SLURM_", "TORCHELASTIC_"))
    }


def _array() -> tuple[int, int]:
    """This job's number among those of its array, and how many there are."""
    for names in ARRAYS:
        if names.index in os.environ:
            index, count = _number(names.index), _number(names.count)
            if not count:
                return _spread(index)
            first = _number(names.first, index) if names.first else 0
            return (index - first) % count, count  # an array's numbers may have holes
    return 0, 1


def _spread(index: int) -> tuple[int, int]:
    """Where job ``index`` begins if nobody says how many jobs there are: at 0, 1/2, 1/4, 3/4, 1/8, ... of the work.

    The van der Corput sequence: however many jobs there are, they begin far from each other.

    Returns:
        Numerator and denominator.
    """
    bits = index.bit_length()
    return int(f"{index:b}"[::-1], 2), 1 << bits


def _peers(names: LauncherVariables) -> int:
    layout: list[int] = []
    for many, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", os.environ.get(names.peers, "")):
        layout += [int(many)] * int(times or 1)
    node = _number(names.node) if names.node else 0
    return layout[node] if node < len(layout) else 1


def _number(name: str, default: int = 0) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default

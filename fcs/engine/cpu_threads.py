"""How many threads a process computes with on CPUs, and how they wait for each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fcs.engine.process_info import ProcessInfo

FEWEST, MOST = 2, 8  # threads that write
CPUS = Path("/sys/devices/system/cpu")
MEMBERSHIP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def wait_quietly() -> None:
    """Have OpenMP's threads sleep while they wait for each other; too late, and nothing, once torch is imported.

    By default they spin. Where other programs run, a spinning thread keeps its core from the very thread that it waits
    for, and two threads take many times what one takes (docs/speed.md). ``OMP_WAIT_POLICY=active`` has it so again.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def threads(info: ProcessInfo) -> int | None:
    """Threads for this process: its share of the node's cores; None where ``OMP_NUM_THREADS`` says it.

    It depends on what the machine grants and not on how busy it is: with another number of threads bytes may differ.

    Args:
        info: of this process.
    """
    if os.environ.get("OMP_NUM_THREADS"):
        return None
    given = os.environ.get("SLURM_CPUS_PER_TASK", "") if info.launcher == "slurm" else ""
    if given.isdecimal():  # the task's own
        return max(1, min(int(given), cores()))
    return max(1, cores() // info.peers)


def writers(on_gpu: bool, info: ProcessInfo) -> int:
    """Threads that score, encode and write: on a GPU's host this process's share of the cores, but for one.

    A CPU needs its cores for the network, which two writers outrun.
    """
    return min(max(FEWEST, (threads(info) or cores()) - 1), MOST) if on_gpu else FEWEST


def cores() -> int:
    """Physical cores that this process may use, by its affinity, and no more than its cgroup has time for."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    # Threads of one core name each other.
    physical = {_read(CPUS / f"cpu{cpu}" / "topology/thread_siblings_list") or str(cpu) for cpu in affinity}
    return max(1, int(min([len(physical), *_quotas()])))


def _quotas() -> Iterator[float]:
    """The CPU seconds that each cgroup around this process may use in a second, where there is a limit."""
    for line in _read(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            for group in _around(GROUPS, path):
                yield from _share(*_read(group / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for group in _around(GROUPS / "cpu", path):
                yield from _share(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _around(mount: Path, path: str) -> list[Path]:
    """A cgroup and those that it lies in; in a container some of them may exist outside only."""
    own = mount / path.lstrip("/")
    return [group for group in (own, *own.parents) if group.is_relative_to(mount)]


def _share(quota: str = "", period: str = "") -> Iterator[float]:
    if quota.isdecimal() and period.isdecimal():  # "max" and -1 are no limit
        yield int(quota) / max(1, int(period))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # another system, or another version of it
        return ""

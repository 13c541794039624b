"""The threads of a process on CPUs: its share of what the machine, its cgroups and its launcher grant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fcs.engine import cpu_threads
from fcs.engine.cpu_threads import cores, threads
from fcs.engine.process_info import ProcessInfo
from fcs.engine.trainer import limit_threads


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 logical and 8 physical cores without cgroups, in a folder of its own."""
    for cpu in range(16):
        written(tmp_path / f"cpu/cpu{cpu}/topology/thread_siblings_list", f"{cpu % 8},{cpu % 8 + 8}")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(os, "environ", {})
    for name, path in {"CPUS": "cpu", "MEMBERSHIP": "member", "GROUPS": "groups"}.items():
        monkeypatch.setattr(cpu_threads, name, tmp_path / path)
    return tmp_path


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.mark.usefixtures("machine")
def test_threads_of_one_core_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 8, 9})
    assert cores() == 2


def test_a_machine_that_does_not_say(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_threads, "CPUS", machine / "nothing")
    assert cores() == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores() == 3


@pytest.mark.parametrize(
    ("member", "files", "expected"),
    [
        ("0::/", {"cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/outside/only", {"cpu.max": "400000 100000"}, 4),
        ("3:cpuset:/\n1:cpu,cpuacct:/x\n0::/", {"cpu/x/cpu.cfs_quota_us": "200000"}, 2),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1"}, 8),
        ("1:name=systemd:/", {"cpu.max": "100000 100000"}, 8),
    ],
)
def test_quotas_of_cgroups(machine: Path, member: str, files: dict[str, str], expected: int) -> None:
    written(machine / "member", member)
    for name, text in files.items():
        written(machine / "groups" / name, text)
        if name.endswith("quota_us"):
            written((machine / "groups" / name).with_name("cpu.cfs_period_us"), "100000")
    assert cores() == expected


@pytest.mark.usefixtures("machine")
def test_processes_share_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads(ProcessInfo()) == 8
    assert threads(ProcessInfo(peers=2)) == 4
    assert threads(ProcessInfo(peers=16)) == 1
    monkeypatch.setattr(os, "environ", {"SLURM_CPUS_PER_TASK": "6"})
    assert threads(ProcessInfo(peers=2, launcher="slurm")) == 6
    assert threads(ProcessInfo(peers=2, launcher="fcs")) == 4
    monkeypatch.setattr(os, "environ", {"SLURM_CPUS_PER_TASK": "32"})  # logical ones
    assert threads(ProcessInfo(peers=2, launcher="slurm")) == 8


@pytest.mark.usefixtures("machine")
def test_the_user_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "5"})
    assert threads(ProcessInfo(peers=2)) is None


@pytest.mark.usefixtures("machine")
def test_torch_is_never_given_more_than_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    had = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        limit_threads(ProcessInfo())
        assert torch.get_num_threads() == 3
        limit_threads(ProcessInfo(peers=4))
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "2"})
        limit_threads(ProcessInfo(peers=8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(had)


@pytest.mark.parametrize(("said", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_threads_wait_quietly(said: dict[str, str], expected: str) -> None:
    """A command sets it before torch is there, and for the processes that it starts."""
    code = "import os; from fcs.tools.cli.ends import ending; ending('x', lambda: print(os.environ['OMP_WAIT_POLICY']))"
    variables = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | said
    told = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [expected]


def test_it_is_too_late_once_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    cpu_threads.wait_quietly()
    assert "OMP_WAIT_POLICY" not in os.environ

"""Which process of a run this is, by what SLURM and the launcher say; what of it is refused."""

from __future__ import annotations

import os
import re

import pytest

from fcs.core.errors import UsageError
from fcs.engine.process_info import ProcessInfo, check
from fcs.engine.trainer import threads

ARRAY = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_ID": "7"}
STEP = {"SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_NODEID": "1"}
STEP |= {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_NUM_NODES": "3"}
LAUNCHED = {"FCS_RANK": "2", "FCS_WORLD": "4"}


def place(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> ProcessInfo:
    monkeypatch.setattr(os, "environ", dict(variables))
    return ProcessInfo.here()


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(monkeypatch, {}) == ProcessInfo(0, 1, 0, 1)
    # In a batch script, outside a step, SLURM's numbers are those of the script itself.
    batch = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_TASKS_PER_NODE": "4", "SLURM_NODEID": "0"}
    assert place(monkeypatch, batch) == ProcessInfo(0, 1, 0, 1)


def test_started_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(monkeypatch, LAUNCHED) == ProcessInfo(2, 4, 2, 4, started=True, speaks=False)


def test_a_task_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(monkeypatch, ARRAY) == ProcessInfo(2, 3, 0, 1)
    assert place(monkeypatch, ARRAY | LAUNCHED) == ProcessInfo(10, 12, 2, 4, started=True, speaks=False)


def test_a_rank_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(monkeypatch, STEP) == ProcessInfo(3, 5, 1, 2, speaks=False)
    assert place(monkeypatch, STEP | {"SLURM_NODEID": "2", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"}).peers == 1
    assert place(monkeypatch, STEP | {"SLURM_PROCID": "0"}).speaks
    assert place(monkeypatch, STEP | ARRAY) == ProcessInfo(13, 15, 1, 2, speaks=False)


def test_every_process_has_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [
        place(
            monkeypatch,
            ARRAY
            | {"SLURM_ARRAY_TASK_ID": str(5 + task)}
            | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_PROCID": str(node)}
            | {"FCS_RANK": str(device), "FCS_WORLD": "4"},
        ).rank
        for task in range(3)
        for node in range(2)
        for device in range(4)
    ]
    assert ranks == list(range(24))


def refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: int | str, gpus: int) -> str:
    with pytest.raises(UsageError) as caught:
        check(place(monkeypatch, variables), asked, gpus)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: False)


def test_what_fits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables, asked, gpus in (
        ({}, "auto", 8),
        ({}, 4, 0),
        (STEP, "auto", 0),
        (STEP, 2, 0),
        (STEP, "auto", 1),  # --gpus-per-task=1
        (STEP | {"SLURM_GPUS_ON_NODE": "2"}, "auto", 1),
        (STEP | {"SLURM_GPUS_ON_NODE": "2"}, "auto", 2),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "1(x5)"}, 8, 8),  # one task a node starts eight processes
        (STEP | {"SLURM_JOB_NAME": "bash", "SLURM_NTASKS": "5"}, "auto", 0),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "1"}, 4, 4),
        (STEP | LAUNCHED, 7, 3),
    ):
        check(place(monkeypatch, variables), asked, gpus)  # type: ignore[arg-type]


def test_more_nodes_than_a_process_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, {"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2"}, "auto", 0)
    assert said.startswith("SLURM_JOB_NUM_NODES=2: expected 1 for a process without srun; write srun fcs-predict")


def test_other_devices_than_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, STEP, 4, 0)
    assert said.startswith("trainer.devices=4: expected auto or 2")
    assert "--ntasks-per-node=4" in said


@pytest.mark.parametrize(("given", "seen"), [("4", 4), ("4", 1), ("1", 1), ("4", 2), ("", 4)])
def test_other_gpus_than_tasks(monkeypatch: pytest.MonkeyPatch, given: str, seen: int) -> None:
    said = refused(monkeypatch, STEP | {"SLURM_GPUS_ON_NODE": given}, "auto", seen)
    assert re.fullmatch(r"srun: 2 tasks and [14] GPUs? on this node: expected .*--ntasks-per-node=[14] .*", said)


def test_an_interactive_shell_of_several_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: number == 0)
    assert "without --pty" in refused(monkeypatch, STEP, "auto", 0)
    check(place(monkeypatch, {"SLURM_JOB_NUM_NODES": "1"}), 2, 2)


def test_threads_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "environ", {})
    assert threads(ProcessInfo(peers=2), 8) == 4
    assert threads(ProcessInfo(peers=2), 1) == 1  # never more than alone
    assert threads(ProcessInfo(peers=16), 8) == 1
    monkeypatch.setattr(os, "environ", {"SLURM_CPUS_PER_TASK": "6"})
    assert threads(ProcessInfo(peers=2), 8) == 6
    assert threads(ProcessInfo(peers=2, started=True), 8) == 4

"""Which process of a run this is, by what its launcher says; what of it is refused."""

from __future__ import annotations

import os
import re

import pytest

from fcs.core.errors import UsageError
from fcs.engine.process_info import ProcessInfo, check, without_launchers
from fcs.engine.rank_launcher import RankLauncher

ARRAY = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_ID": "7"}
STEP = {"SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_NODEID": "1"}
STEP |= {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_NUM_NODES": "3"}
RANK = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}
TORCHRUN = RANK | {"TORCHELASTIC_RUN_ID": "none"}
STARTED = RANK | {"FCS_PARENT": "1"}


def here(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> ProcessInfo:
    monkeypatch.setattr(os, "environ", dict(variables))
    return ProcessInfo.here()


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(monkeypatch, {}) == ProcessInfo()
    # In a batch script, outside a step, SLURM's numbers are those of the script itself.
    batch = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_TASKS_PER_NODE": "4", "SLURM_NODEID": "0"}
    assert here(monkeypatch, batch) == ProcessInfo()
    # Lightning's own launcher sets these in its children, and no RANK.
    assert here(monkeypatch, {"WORLD_SIZE": "2", "LOCAL_RANK": "1", "NODE_RANK": "0"}) == ProcessInfo()


def test_started_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    info = here(monkeypatch, STARTED)
    assert info == ProcessInfo(2, 4, 2, 4, "fcs")
    assert (info.started, info.may_start, info.speaks) == (True, False, False)


def test_started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    info = here(monkeypatch, TORCHRUN)
    assert info == ProcessInfo(2, 4, 2, 4, "torchrun")
    assert (info.started, info.may_start, info.speaks) == (False, False, False)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert not here(monkeypatch, TORCHRUN | alone).may_start  # one process is what was asked for
    assert here(monkeypatch, STEP | TORCHRUN) == ProcessInfo(2, 4, 2, 4, "torchrun")


def test_one_process_a_node_starts_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(monkeypatch, {"RANK": "1", "WORLD_SIZE": "2"}).may_start
    assert here(monkeypatch, STEP | {"SLURM_STEP_TASKS_PER_NODE": "1(x5)"}).may_start
    assert not here(monkeypatch, STEP).may_start


def test_a_task_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(monkeypatch, ARRAY) == ProcessInfo(job=2, jobs=3)
    assert here(monkeypatch, ARRAY | STARTED).overall(2, 4) == (10, 12)
    assert here(monkeypatch, ARRAY | TORCHRUN).overall(2, 4) == (10, 12)
    assert here(monkeypatch, ARRAY).speaks  # into a log of its own


def test_of_numbered_workers_the_first_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [here(monkeypatch, {"FCS_WORKER": str(number), "FCS_WORKERS": "3"}) for number in range(3)]
    assert [(worker.job, worker.jobs) for worker in workers] == [(0, 3), (1, 3), (2, 3)]
    assert [worker.speaks for worker in workers] == [True, False, False]


def test_a_rank_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here(monkeypatch, STEP) == ProcessInfo(3, 5, 1, 2, "slurm")
    assert here(monkeypatch, STEP | {"SLURM_NODEID": "2", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"}).peers == 1
    assert here(monkeypatch, STEP | {"SLURM_PROCID": "0"}).speaks
    assert here(monkeypatch, STEP | ARRAY).overall(3, 5) == (13, 15)


def test_an_indexed_job_does_not_say_of_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [here(monkeypatch, {"JOB_COMPLETION_INDEX": str(i)}) for i in range(8)]
    ways = [info.job / info.jobs for info in places]
    assert ways == [0, 1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]
    rank, world = here(monkeypatch, STARTED | {"JOB_COMPLETION_INDEX": "1"}).overall(2, 4)
    assert rank / world == 0.5 + 0.5 * 2 / 4


def test_a_launcher_of_ones_own_says_it_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"FCS_WORKER": "2", "FCS_WORKERS": "5"}
    assert here(monkeypatch, ARRAY | {"JOB_COMPLETION_INDEX": "1"} | own) == ProcessInfo(job=2, jobs=5, numbered=True)


def test_nothing_of_a_launcher_is_handed_on() -> None:
    given = STEP | ARRAY | TORCHRUN | STARTED | {"JOB_COMPLETION_INDEX": "1", "FCS_WORKER": "1", "FCS_WORKERS": "2"}
    assert without_launchers(given | {"MASTER_PORT": "1", "HF_HOME": "/hub"}) == {"HF_HOME": "/hub"}


def test_every_process_has_a_number_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = []
    for task in range(3):
        for node in range(2):
            step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_PROCID": str(node)}
            variables = ARRAY | step | {"SLURM_ARRAY_TASK_ID": str(5 + task)}
            parent = here(monkeypatch, variables)
            for environment in RankLauncher(parent, 4, []).environments():
                info = here(monkeypatch, variables | environment)
                ranks.append(info.overall(info.rank, info.world))
    assert ranks == [(number, 24) for number in range(24)]


def refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], asked: int | str, gpus: int) -> str:
    with pytest.raises(UsageError) as caught:
        check(here(monkeypatch, variables), asked, gpus)  # type: ignore[arg-type]
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
        (STEP | STARTED, 7, 3),
        (TORCHRUN, "auto", 4),
        (TORCHRUN, 4, 1),
    ):
        check(here(monkeypatch, variables), asked, gpus)  # type: ignore[arg-type]


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


def test_other_devices_than_processes_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(monkeypatch, TORCHRUN, 2, 0)
    assert said.startswith("trainer.devices=2: expected auto or 4")
    assert "torchrun --nproc_per_node=2" in said
    assert "--nproc_per_node=2" in refused(monkeypatch, TORCHRUN, "auto", 2)


def test_an_interactive_shell_of_several_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda number: number == 0)
    assert "without --pty" in refused(monkeypatch, STEP, "auto", 0)
    check(here(monkeypatch, {"SLURM_JOB_NUM_NODES": "1"}), 2, 2)

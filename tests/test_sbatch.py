"""The sbatch scripts by themselves, with a few lines in the place of srun and scontrol."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.waiting import GUARD, wait_until

from fcs.core.package_files import SCRIPTS

# What it was given and what matters of its environment; then CODE, or after a signal 75 (as fcs-predict ends).
SRUN = """#!/bin/bash
trap 'echo USR1 >>"$LOG"; exit 75' USR1
trap 'echo TERM >>"$LOG"; exit 75' TERM
echo "srun $*" >>"$LOG"
env | grep -E '^(HF_HUB_OFFLINE|OMP_NUM_THREADS|TORCHINDUCTOR_CACHE_DIR|SRUN_CPUS_PER_TASK|MODULE)=' >>"$LOG"
if [[ $CODE ]]; then exit "$CODE"; fi
touch "$LOG.started"
while :; do sleep 0.05; done
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >>"$LOG"
if [[ $2 == show ]]; then echo "JobId=7 ${STATE:-JobState=RUNNING Reason=None}"; fi
"""
ARRAY = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder to submit from, with stand-ins in bin."""
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


@contextmanager
def script(
    home: Path, code: str, *given: str, name: str = "array.sbatch", **more: str
) -> Iterator[subprocess.Popen[str]]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = keep | ARRAY | {"PATH": f"{home}/bin:{keep['PATH']}", "LOG": f"{home}/log", "CODE": code, **more}
    process = subprocess.Popen(
        ["bash", str(SCRIPTS / "array.sbatch"), *given],
        cwd=home,
        env={key: value for key, value in environment.items() if value != "-"},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ended(home: Path, code: str, **more: str) -> int:
    with script(home, code, "digits_inpaint", "steps=2", **more) as process:
        return process.wait(GUARD)


def signalled(home: Path, *numbers: signal.Signals, **more: str) -> tuple[int, str]:
    """Exit code and stderr after signals that come while the step runs."""
    with script(home, "", "digits_inpaint", **more) as process:
        wait_until((home / "log.started").exists)
        for number in numbers:
            process.send_signal(number)
        _, said = process.communicate(timeout=GUARD)
    return process.returncode, said


def log(home: Path) -> list[str]:
    return (home / "log").read_text().splitlines()


@pytest.mark.parametrize(("code", "end"), [("0", 0), ("3", 0), ("2", 2), ("4", 4), ("70", 70), ("74", 74), ("75", 75)])
def test_exit_codes_and_what_is_run(home: Path, code: str, end: int) -> None:
    assert ended(home, code) == end
    assert log(home)[0].endswith("fcs-predict --config digits_inpaint steps=2")
    assert not any("requeue" in line for line in log(home))


def test_compute_nodes_are_offline_and_caches_are_local(home: Path) -> None:
    ended(home, "0", SLURM_CPUS_PER_TASK="6", SLURM_TMPDIR=f"{home}/node")
    assert {"HF_HUB_OFFLINE=1", "OMP_NUM_THREADS=6", "SRUN_CPUS_PER_TASK=6"} <= set(log(home))
    assert f"TORCHINDUCTOR_CACHE_DIR={home}/node/fcs-{os.getuid()}/inductor" in log(home)


def test_a_site_file_comes_first_and_wins(home: Path) -> None:
    (home / "fcs-site.sh").write_text("export MODULE=loaded HF_HUB_OFFLINE=0\n")
    assert ended(home, "0") == 0
    assert {"MODULE=loaded", "HF_HUB_OFFLINE=0"} <= set(log(home))
    assert ended(home, "0", FCS_SITE="elsewhere.sh") == 2


def test_usr1_goes_back_to_the_queue_this_task_alone(home: Path) -> None:
    code, said = signalled(home, signal.SIGUSR1)
    assert code == 75
    assert "7_3: interrupted, goes back to the queue (1 of at most 20 times)" in said
    assert log(home)[-2:] == ["scontrol -o show job 7_3", "scontrol requeue 7_3"]


def test_a_job_without_an_array_goes_back_by_its_number(home: Path) -> None:
    signalled(home, signal.SIGUSR1, SLURM_ARRAY_JOB_ID="-", SLURM_ARRAY_TASK_ID="-")
    assert log(home)[-1] == "scontrol requeue 7"


def test_not_more_often_than_it_may(home: Path) -> None:
    code, said = signalled(home, signal.SIGUSR1, SLURM_RESTART_COUNT="2", FCS_MAX_REQUEUE="2")
    assert code == 75
    assert "FCS_MAX_REQUEUE=2" in said
    assert not any("requeue" in line for line in log(home))


def test_term_ends_for_good(home: Path) -> None:
    assert signalled(home, signal.SIGTERM)[0] == 75
    assert "TERM" in log(home)
    assert not any("scontrol" in line for line in log(home))


@pytest.mark.parametrize(
    ("state", "comes"),
    [
        ("JobState=COMPLETING Reason=TimeLimit", True),
        ("JobState=COMPLETING Reason=None", False),  # cancelled, or requeued by SLURM itself
        ("JobState=CANCELLED Reason=None", False),
    ],
)
def test_what_became_of_the_job_meanwhile(home: Path, state: str, comes: bool) -> None:
    assert signalled(home, signal.SIGUSR1, STATE=state)[0] == 75
    assert (log(home)[-1] == "scontrol requeue 7_3") == comes


def test_a_run_that_is_wrong_does_not_come_again(home: Path) -> None:
    # The signal and the end at once: srun ends with 2 although it was told to stop.
    (home / "bin" / "srun").write_text(SRUN.replace("exit 75' USR1", "exit 2' USR1"))
    assert signalled(home, signal.SIGUSR1)[0] == 2
    assert not any("scontrol" in line for line in log(home))


def test_one_job_over_nodes_does_what_an_array_does() -> None:
    bodies = [(SCRIPTS / name).read_text().partition("\n# Nothing here needs an edit")[2] for name in NAMES]
    assert bodies[0] == bodies[1] != ""


NAMES = ("array.sbatch", "ddp.sbatch")


def report(home: Path, left: str) -> tuple[int, str]:
    for name in ("fcs-status", "fcs-report"):
        text = f'#!/bin/bash\nif [[ $* == *--array* ]]; then echo "{left}"; else echo "{name} $*"; fi\n'
        (home / "bin" / name).write_text(text)
        (home / "bin" / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{home}/bin:{os.environ['PATH']}"}
    command = ["bash", str(SCRIPTS / "report.sbatch"), "OUT"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_the_report_says_whether_the_run_is_complete(home: Path) -> None:
    assert report(home, "") == (0, "fcs-status OUT\n\nfcs-report OUT\n\nOUT: complete\n")
    code, said = report(home, "0-4")
    assert code == 75
    assert said.endswith("OUT: not complete; submit the array again with --array=0-4\n")

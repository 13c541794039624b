"""A run under Ray: complete and the same bytes as of one process, whatever is killed.

Ask for them with ``-m ray``: a cluster is started for them on this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.waiting import GUARD, wait_until

from fcs.shards.store.atomic_files import read_json
from fcs.tools.cli.predict import main as predict

Rows = tuple[str, list[tuple[str, str, int]]]
pytestmark = pytest.mark.ray
TESTS = Path(__file__).parent
SETTINGS = ["steps=1", "data.limit=40", "data.batch_size=1", "data.workers=1", "previews.max=0", "trainer.grace=2"]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 2 * "0123456789abcdef0123456789abcdef"}
SETTINGS += ["task=helpers.slurm_paced.Paced"]  # five slices
PACE = "FCS_TEST_PACE=10"  # a slice takes 80 s, all of them 400: longer than until the last worker begins
STARTS = 9  # Ray gives up after 30 s, whatever else the machine does
# Ends when its standard input does, and the cluster with it.
CLUSTER = """
import ray, sys
print(ray.init(address="local", num_cpus=4, include_dashboard=False, object_store_memory=80 << 20, namespace="test")
      .address_info["address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of one node with four CPUs, as it says."""
    if "ray" not in request.config.option.markexpr:
        pytest.skip("asked for with -m ray")
    pytest.importorskip("ray")
    from fcs.tools.submit.ray_cluster import SETTINGS as QUIET

    path = f"{TESTS}:{TESTS.parent}:{os.environ.get('PYTHONPATH', '')}"
    # As if Ray had been started by a task of a job array.
    launcher = {
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_ARRAY_TASK_ID": "7",
        "SLURM_JOB_NUM_NODES": "2",
    }
    environment = {**os.environ, **QUIET, **TOKEN, **launcher, "PYTHONPATH": path}
    for _ in range(STARTS):
        with subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if address:
                yield address
                process.stdin.close()
                process.wait(GUARD)
                return
    pytest.fail("Ray did not start")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """What one process makes of the work."""
    out = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        patch.setenv("FCS_TEST_GO", "/")
        assert predict(["--config", "digits_inpaint", f"out={out}", *SETTINGS]) == 0
    return written(out)


def written(out: Path) -> Rows:
    """Hash of the results, and their rows."""
    assert json.loads((out / "summary.json").read_text())["complete"]
    rows = pq.read_table(out / "metrics" / "mixed.parquet").to_pylist()
    tar = hashlib.sha256((out / "shards" / "mixed.tar").read_bytes()).hexdigest()
    return tar, [(row["key"], row["status"], row["seed"]) for row in rows]


@dataclass(frozen=True)
class Trial:
    """One run under Ray, whose steps take so long until ``go`` that each worker finds work, however late it starts."""

    out: Path
    address: str

    @contextmanager
    def submitted(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "fcs.tools.cli.submit", "digits_inpaint", f"out={self.out}", *SETTINGS]
        command += ["--on", "ray", "--address", self.address, "--workers", "3", "--gpus", "0", "--cpus", "1"]
        same = f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"  # as in the process that worked alone
        command += ["--env", PACE, "--env", same, "--env", f"FCS_TEST_GO={self.out}.go", *words]
        environment = {
            **os.environ,
            **TOKEN,
            "PYTHONPATH": f"{TESTS}:{TESTS.parent}:{os.environ.get('PYTHONPATH', '')}",
        }
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def at_work(self, workers: int, without: frozenset[int] = frozenset()) -> frozenset[int]:
        """Wait until so many workers' processes have each taken a slice; those ``without`` do not count."""
        found: list[frozenset[int]] = []

        def all_claim() -> bool:
            found.append((self.pids() & self.claimants()) - without)
            return len(found[-1]) == workers

        wait_until(all_claim)
        return found[-1]

    def claimants(self) -> frozenset[int]:
        """Processes that have taken a slice."""
        claims = (read_json(path) for path in (self.out / "claims").rglob("[0-9]*"))
        return frozenset(claim["pid"] for claim in claims if claim is not None)

    def pids(self) -> frozenset[int]:
        """Of the workers' processes that run."""
        return frozenset(pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if self._works(pid))

    def _works(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has just ended
            return False
        return "fcs.tools.cli.predict" in words and f"out={self.out}" in words

    def go(self) -> None:
        """No more waiting between steps."""
        Path(f"{self.out}.go").touch()


@pytest.fixture
def trial(cluster: str, tmp_path: Path) -> Trial:
    return Trial(tmp_path / "run", cluster)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_lost_workers_are_started_again(trial: Trial, alone: Rows) -> None:
    with trial.submitted() as driver:
        first = trial.at_work(3)
        os.kill(min(first), signal.SIGKILL)  # the process itself
        second = trial.at_work(3, first & {min(first)})
        lost = min(first & second)
        os.kill(parent(lost), signal.SIGKILL)  # Ray's process around it: it ends too, since nobody would wait for it
        trial.at_work(3, frozenset({min(first), lost}))
        wait_until(lambda: lost not in trial.pids())
        trial.go()
        said, errors = driver.communicate(timeout=GUARD)
    assert driver.returncode == 0, errors
    assert f"fcs-status {trial.out}" in said
    assert written(trial.out) == alone


def test_a_signal_ends_the_workers_and_the_same_command_goes_on(trial: Trial, alone: Rows) -> None:
    with trial.submitted() as driver:
        trial.at_work(3)
        driver.send_signal(signal.SIGTERM)
        _, errors = driver.communicate(timeout=GUARD)
        assert driver.returncode == 75, errors
        assert "fcs-submit: stopped by SIGTERM; the same command continues the run" in errors.splitlines()
        assert not trial.pids()
    assert not (trial.out / "summary.json").exists()
    trial.go()
    with trial.submitted() as driver:
        _, errors = driver.communicate(timeout=GUARD)
        assert driver.returncode == 0, errors
    assert written(trial.out) == alone


def test_a_detached_run_goes_on_without_its_driver(trial: Trial, alone: Rows) -> None:
    with trial.submitted("--detach") as driver:
        said, errors = driver.communicate(timeout=GUARD)
        assert driver.returncode == 0, errors
    trial.at_work(3)
    trial.go()
    wait_until(lambda: not trial.pids())
    assert written(trial.out) == alone
    stop = next(line for line in said.splitlines() if line.startswith("stop"))
    assert "ray.kill(ray.get_actor(" in stop


def test_the_highest_exit_code_of_the_workers(trial: Trial) -> None:
    trial.go()
    with trial.submitted("seed=1", "--workers", "1") as driver:
        assert driver.wait(GUARD) == 0
    with trial.submitted(
        "seed=2", "--workers", "2"
    ) as driver:  # another run in the same folder, which only a worker can know
        _, errors = driver.communicate(timeout=GUARD)
    assert driver.returncode == 2, errors


def test_a_worker_that_is_lost_too_often_is_not_started_again(trial: Trial) -> None:
    with trial.submitted("--workers", "1", "--retries", "1") as driver:
        first = trial.at_work(1)
        os.kill(min(first), signal.SIGKILL)
        os.kill(min(trial.at_work(1, first)), signal.SIGKILL)
        _, errors = driver.communicate(timeout=GUARD)
    assert driver.returncode == 75, errors
    own = [line for line in errors.splitlines() if line.startswith("fcs-submit: ")]
    lost = "fcs-submit: worker 0: its process was killed or interrupted; not started again, --retries=1"
    assert own == [lost, "fcs-submit: no worker is left; the same command continues the run"]

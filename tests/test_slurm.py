"""Runs under a real SLURM: complete and the same bytes as on a laptop, whatever happens to its jobs.

Ask for them with ``-m slurm``: they take minutes, and need slurmctld, slurmd and munge.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset as wds
from helpers.slurm_cluster import Cluster, lacking, until

from fcs.shards.input.whole_tar import members_by_key
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.predict import main
from fcs.tools.status.read_status import read_status
from fcs.tools.status.run_status import ProcessStatus

pytestmark = pytest.mark.slurm
TESTS = Path(__file__).parent
SCRIPTS = TESTS.parent / "slurm"
BATCH = 4
SETTINGS = [f"data.batch_size={BATCH}", "data.workers=1", "previews.max=0", "trainer.grace=2"]
PYTHON = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
    "PYTHONPATH": f"{TESTS}:{TESTS.parent}",
}


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes of four CPUs."""
    if "slurm" not in request.config.option.markexpr:
        pytest.skip("takes minutes; asked for with -m slurm")
    reason = lacking()
    if reason:
        pytest.skip(reason)
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(75))  # so that nothing is left running
    with Cluster(2) as made:
        yield made
    signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Work:
    """Input shards, and what a laptop makes of them."""

    inputs: Path
    steps: int
    tars: dict[str, str]
    rows: list[tuple[str, str, str | None, int | None]]


@dataclass(frozen=True)
class Trial:
    """One run under SLURM.

    Attributes:
        cluster: where.
        work: what it has to do.
        out: its folder; logs go beside it.
        pace: seconds that a step of it takes until ``go``.
    """

    cluster: Cluster
    work: Work
    out: Path
    pace: float = 6.0

    @property
    def command(self) -> list[str]:
        return ["digits_inpaint", *arguments(self.work.inputs, self.work.steps, self.out)]

    @property
    def environment(self) -> dict[str, str]:
        return PYTHON | {"FCS_TEST_GO": f"{self.out}.go", "FCS_TEST_PACE": str(self.pace), "OMP_NUM_THREADS": "1"}

    def sbatch(self, *options: str, script: str = "array.sbatch", **environment: str) -> str:
        command = ["sbatch", "--parsable", *options, str(SCRIPTS / script), *self.command]
        return self.cluster.run(*command, cwd=self.out.parent, **self.environment, **environment)

    def processes(self) -> list[ProcessStatus]:
        return list(read_status(LocalStore(self.out)).processes) if (self.out / "run.json").exists() else []

    def working(self) -> list[ProcessStatus]:
        """Those that have a slice in hand."""
        return [process for process in self.processes() if process.state == "working"]

    def at_work(self, count: int) -> None:
        """Wait until so many processes have a slice in hand, and one has finished a batch."""
        until(lambda: len(self.working()) >= count and any(process.done for process in self.processes()), "work")

    def go(self) -> None:
        """No more waiting between steps."""
        Path(f"{self.out}.go").touch()

    def field(self, job: str, name: str) -> str:
        """Of ``scontrol show job``, for one task."""
        (task,) = self.cluster.tasks(job)
        return task[name]

    def log(self, job: str) -> str:
        return "\n".join(path.read_text() for path in sorted(self.out.parent.glob(f"slurm-{job}*.out")))

    def as_on_a_laptop(self) -> None:
        """The run is complete, each record is there once, and its tars are those of one process."""
        assert json.loads((self.out / "summary.json").read_text())["complete"]
        assert written(self.out) == self.work.rows
        assert hashes(self.out) == self.work.tars
        assert not any(list((self.out / name).glob("*")) for name in ("parts", "claims"))


def arguments(inputs: Path, steps: int, out: Path) -> list[str]:
    return [f"data.shards={inputs}/*.tar", f"out={out}", f"steps={steps}", "task=helpers.slurm_paced.Paced", *SETTINGS]


def hashes(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "shards").glob("*.tar")}


def written(out: Path) -> list[tuple[str, str, str | None, int | None]]:
    tables = (pq.read_table(path).to_pylist() for path in (out / "metrics").glob("*.parquet"))
    rows = ((row["shard"], row["key"], row["error"], row["seed"]) for table in tables for row in table)
    return sorted(rows, key=lambda row: row[:2])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, digits_shard: Path) -> dict[str, Work]:
    """``many``: 40 shards, a record that fails among them; ``big``: one of three slices; ``few``: 30 levels."""
    folder = tmp_path_factory.mktemp("work")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TESTS)
        patch.setenv("FCS_TEST_GO", "/")
        for name, shards, records, steps in (("many", 40, 2, 1), ("big", 1, 5 * 4 * BATCH, 1), ("few", 1, 8, 30)):
            inputs = folder / name
            write(inputs, digits_shard, shards, records)
            if name == "many":
                with wds.TarWriter(str(inputs / "broken.tar"), mtime=0) as tar:
                    tar.write({"__key__": "broken", "png": b"no picture", "mask.png": b"no mask"})
            out = folder / f"{name}-laptop"
            code = main(["--config", "digits_inpaint", *arguments(inputs, steps, out)])
            assert code == (3 if name == "many" else 0)
            made[name] = Work(inputs, steps, hashes(out), written(out))
    return made


def write(folder: Path, source: Path, shards: int, records: int) -> None:
    folder.mkdir()
    (folder / "sizes.json").write_text(json.dumps({f"{shard:02d}.tar": records for shard in range(shards)}))
    digits = list(members_by_key(source).values())
    for shard in range(shards):
        with wds.TarWriter(str(folder / f"{shard:02d}.tar"), mtime=0) as tar:
            for place in range(records):
                digit = digits[(shard * records + place) % len(digits)]
                tar.write({"png": digit["png"], "mask.png": digit["mask.png"], "__key__": f"r{shard}-{place}"})


@pytest.fixture
def trial(cluster: Cluster, work: dict[str, Work], tmp_path: Path, request: pytest.FixtureRequest) -> Trial:
    name, pace = getattr(request, "param", ("big", 6.0))
    return Trial(cluster, work[name], tmp_path / "run", pace)


@pytest.mark.parametrize("trial", [("many", 6.0)], indirect=True)
def test_an_array_while_the_controller_is_restarted_and_its_report(trial: Trial) -> None:
    cluster = trial.cluster
    job = trial.sbatch("--array=0-3")
    report = cluster.run(
        "sbatch",
        "--parsable",
        f"--dependency=afterany:{job}",
        f"--output={trial.out}.report",
        str(SCRIPTS / "report.sbatch"),
        str(trial.out),
        **trial.environment,
    )
    trial.at_work(2)
    cluster.end("slurmctld")
    cluster.start()
    assert cluster.states(report) == ["PENDING"]
    trial.go()
    assert cluster.wait(job) == ["COMPLETED"] * 4
    trial.as_on_a_laptop()
    assert len({process.task for process in trial.processes()}) >= 2
    assert cluster.wait(report) == ["COMPLETED"]
    (told,) = cluster.tasks(report)
    assert told["Restarts"] == "0"
    text = Path(f"{trial.out}.report").read_text()
    assert text.endswith(f"{trial.out}: complete\n")
    assert "1 failed" in text


def test_submitted_by_fcs_submit(trial: Trial) -> None:
    command = [sys.executable, "-m", "fcs.tools.cli.submit", *trial.command, "--on", "slurm", "--workers", "2"]
    said = trial.cluster.run(*command, "--gpus", "0", "--cpus", "1", cwd=trial.out.parent, **trial.environment)
    job = said.split()[1].removesuffix(":")
    trial.at_work(2)
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"] * 2
    trial.as_on_a_laptop()


def test_a_throttled_array_is_cancelled_and_another_size_goes_on(trial: Trial) -> None:
    job = trial.sbatch("--array=0-3%2")  # more tasks than slices
    trial.at_work(2)
    assert sorted(trial.cluster.states(job)) == ["PENDING", "RUNNING", "RUNNING"]  # one line for all that wait
    trial.cluster.run("scancel", job)
    assert set(trial.cluster.wait(job)) == {"CANCELLED"}
    assert {task.get("Restarts", "0") for task in trial.cluster.tasks(job)} == {"0"}
    log = trial.log(job)
    assert log.count("stopped by SIGTERM") == 2
    assert "goes back" not in log
    assert sum(process.done for process in trial.processes()) >= 2 * BATCH  # each finished the batch it was in
    left = trial.cluster.run("fcs-status", str(trial.out), "--array", **trial.environment)
    assert left == "0-2"
    trial.go()
    again = trial.sbatch(f"--array={left}")
    assert set(trial.cluster.wait(again)) == {"COMPLETED"}
    trial.as_on_a_laptop()


@pytest.mark.parametrize("trial", [("few", 1.0)], indirect=True)
def test_a_batch_that_outlasts_the_wait_before_the_kill_is_cut_and_a_requeue_goes_on(trial: Trial) -> None:
    job = trial.sbatch()
    until(lambda: bool(trial.processes()), "a claim")
    trial.cluster.run("scontrol", "requeue", job)
    until(lambda: trial.field(job, "Restarts") == "1", "the requeue")
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"]
    assert "stopped by SIGTERM" in trial.log(job)  # which a process that was killed does not say
    trial.as_on_a_laptop()


@pytest.mark.parametrize("trial", [("big", 12.0)], indirect=True)
def test_a_task_is_told_that_its_time_is_over_more_often_than_it_may_come_again(trial: Trial) -> None:
    job = trial.sbatch("--array=0-1", FCS_MAX_REQUEUE="1")
    until(lambda: len(trial.working()) == 2, "two at work")
    # The task whose own number is that of the whole array: only it goes back.
    ends = [task["ArrayTaskId"] for task in sorted(trial.cluster.tasks(job), key=lambda task: task["JobId"] != job)]
    told, other = (f"{job}_{number}" for number in ends)
    trial.cluster.run("scancel", "--batch", "--signal=USR1", told)
    until(lambda: trial.field(told, "Restarts") == "1", "a requeue")
    assert trial.field(other, "JobState") == "RUNNING"

    until(lambda: len(trial.working()) < 2, "its end")

    def again() -> bool:
        trial.cluster.hurry(told)
        return len(trial.working()) == 2

    until(again, "its second run")
    trial.cluster.run("scancel", "--batch", "--signal=USR1", told)
    until(lambda: trial.field(told, "JobState") == "FAILED", "an end")
    assert trial.field(told, "ExitCode") == "75:0"
    assert "FCS_MAX_REQUEUE=1" in trial.log(told)
    assert trial.log(told).count("stopped by SIGUSR1") == 2  # the log of the first run is there too
    trial.go()
    trial.cluster.wait(job)
    assert (trial.field(other, "JobState"), trial.field(other, "Restarts")) == ("COMPLETED", "0")
    trial.as_on_a_laptop()


def test_ranks_are_where_slurm_says(cluster: Cluster) -> None:
    ask = "from fcs.engine.process_info import ProcessInfo; p = ProcessInfo.here(); "
    ask += "print(*p.overall(p.rank, p.world), p.local, p.peers, p.speaks)"
    command = [sys.executable, "-c", ask]
    for options, places in (
        (("-N1", "--ntasks=2"), ["0 2 0 2 True", "1 2 1 2 False"]),
        (("-N2", "--ntasks-per-node=1"), ["0 2 0 1 True", "1 2 0 1 False"]),
        (("-N2", "--ntasks=3", "-J", "bash"), ["0 3 0 2 True", "1 3 1 2 False", "2 3 0 1 False"]),
    ):
        assert sorted(cluster.run("srun", *options, *command, **PYTHON).splitlines()) == places
    script = ["sbatch", "--wait", "--array=4-5", "--ntasks=2", "-o", f"{cluster.folder}/%a", "--wrap"]
    cluster.run(*script, f"srun {sys.executable} -c '{ask}'", **PYTHON)
    said = [sorted((cluster.folder / task).read_text().splitlines()) for task in "45"]
    assert said == [["0 4 0 2 True", "1 4 1 2 False"], ["2 4 0 2 True", "3 4 1 2 False"]]


@pytest.mark.parametrize(
    ("options", "asked", "said"),
    [
        (("srun", "-N1", "--ntasks=2"), "4", "trainer.devices=4: expected auto or 2"),
        (("srun", "-N1", "--ntasks=3", "--gpus-per-node=2"), "'auto'", "write --ntasks-per-node=2 --gpus-per-task=1"),
        (("srun", "-N1", "--ntasks=2", "--gpus-per-task=1"), "'auto'", ""),
        (("srun", "-N1", "--ntasks=2", "--pty"), "'auto'", "without --pty"),
        (("salloc", "-N2"), "'auto'", "write srun fcs-predict"),
    ],
)
def test_what_does_not_fit_is_refused(cluster: Cluster, options: tuple[str, ...], asked: str, said: str) -> None:
    ask = f"from fcs.engine.process_info import ProcessInfo, check; check(ProcessInfo.here(), {asked}, 0)"
    done = cluster.popen(*options, sys.executable, "-c", ask, **PYTHON)
    text, _ = done.communicate(timeout=120)
    assert said in text
    assert (done.returncode == 0) == (said == "")


def test_srun_on_one_node_in_a_job_named_bash(trial: Trial) -> None:
    """Three slices for two ranks; Lightning's own plugin would let each of them do everything."""
    command = ["srun", "-J", "bash", "-N1", "--ntasks=2", "fcs-predict", "--config", *trial.command]
    step = trial.cluster.popen(*command, **trial.environment)
    trial.at_work(2)
    trial.go()
    text, _ = step.communicate(timeout=240)
    assert step.returncode == 0, text
    assert text.count("records: 80 ok, 0 failed") == 1
    trial.as_on_a_laptop()


def test_one_job_on_two_nodes(trial: Trial) -> None:
    job = trial.sbatch(script="ddp.sbatch")
    trial.at_work(2)
    assert trial.field(job, "NumNodes") == "2"
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"]
    trial.as_on_a_laptop()


def test_a_rank_that_fails_fails_the_job_and_the_other_does_its_work(trial: Trial) -> None:
    job = trial.sbatch("-N1", "--ntasks-per-node=2", script="ddp.sbatch", FCS_TEST_FAILS="1")
    until(lambda: "RuntimeError: this rank fails" in trial.log(job), "the failure")
    trial.go()
    assert trial.cluster.wait(job) == ["FAILED"]
    assert trial.field(job, "ExitCode") == "70:0"
    trial.as_on_a_laptop()


def test_preempted_by_an_urgent_partition(trial: Trial) -> None:
    node = trial.cluster.nodes[0]
    job = trial.sbatch("--exclusive", "-w", node)
    trial.at_work(1)
    urgent = trial.cluster.run(
        "sbatch", "--parsable", "-p", "urgent", "--exclusive", "-w", node, "-o", "/dev/null", "--wrap", "true"
    )
    assert trial.cluster.wait(urgent) == ["COMPLETED"]
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"]
    assert trial.field(job, "Restarts") == "1"
    assert "stopped by SIGUSR1" in trial.log(job)
    trial.as_on_a_laptop()


def test_the_time_limit(trial: Trial) -> None:
    job = trial.sbatch("--time=1", "--signal=B:USR1@30")
    until(lambda: int(trial.field(job, "Restarts")) >= 1, "a requeue")
    trial.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")  # a loaded machine starts slowly
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"]
    assert "stopped by SIGUSR1" in trial.log(job)
    trial.as_on_a_laptop()


def test_a_node_dies_with_its_step(trial: Trial) -> None:
    job = trial.sbatch("--array=0-1", "--exclusive")
    trial.at_work(2)
    trial.cluster.power_cut(trial.cluster.nodes[1])
    trial.cluster.start()
    trial.go()
    assert trial.cluster.wait(job) == ["COMPLETED"] * 2
    assert sorted(task["Restarts"] for task in trial.cluster.tasks(job)) == ["0", "1"]
    trial.as_on_a_laptop()

"""SLURM: the workers are the tasks of a job array, by the shipped ``array.sbatch``."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from fcs.core.errors import UsageError
from fcs.core.package_files import SCRIPTS
from fcs.tools.submit.submission import Submission, told

REQUEUES = "FCS_MAX_REQUEUE"  # read by the script


def check_sbatch() -> None:
    """Refuse to go on without sbatch.

    Raises:
        UsageError: it is not on PATH.
    """
    if shutil.which("sbatch") is None:
        raise UsageError("sbatch: not on PATH; expected a login node of a SLURM cluster, or --dry-run")


def command(submission: Submission, options: Sequence[str] = ()) -> list[str]:
    """The command line of sbatch.

    Args:
        submission: what to run.
        options: further ones of sbatch; they win over those that follow from the submission.
    """
    gpus = [f"--gpus={submission.gpus}"] if submission.gpus else []
    asked = [f"--array=0-{submission.workers - 1}", *gpus, f"--cpus-per-task={submission.cpus}", *options]
    script = str(SCRIPTS / "array.sbatch")
    return ["sbatch", "--parsable", *asked, script, submission.configs[0], *submission.more_words]


def submit(submission: Submission, options: Sequence[str], dry_run: bool) -> None:
    """Submit the array, and say its number and what to do next.

    Raises:
        UsageError: sbatch refuses it, in its own words.
    """
    line = command(submission, options)
    times = {} if submission.retries is None else {REQUEUES: str(submission.retries)}
    if dry_run:
        print(" ".join([*(f"{name}={value}" for name, value in times.items()), shlex.join(line)]))
        return
    done = subprocess.run(line, env={**os.environ, **times}, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [row for row in done.stderr.splitlines() if row.strip()]
        raise UsageError(said[-1] if said else f"sbatch: ended with {done.returncode}")
    job = done.stdout.strip().partition(";")[0]  # behind it: the cluster's name
    report = shlex.join(["sbatch", f"--dependency=afterany:{job}", str(SCRIPTS / "report.sbatch"), submission.out])
    print(f"job {job}: an array of {submission.workers}, logs in slurm-{job}_*.out")
    print(told(follow=submission.status, stop=f"scancel {job}", go_on=submission.again, report=report))

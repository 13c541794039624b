"""Ray: the workers are tasks, which Ray places on nodes with free GPUs and starts again where they are lost."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcs.core.errors import UsageError, first_line
from fcs.core.exit_codes import DEFECT, DONE, INTERRUPTED, SOME_FAILED, USAGE, worst
from fcs.engine.signals import Stop
from fcs.tools.submit.ray_cluster import LOCAL, NAMESPACE, connect
from fcs.tools.submit.ray_worker import LostWorker, WorkerTask, work
from fcs.tools.submit.submission import Submission, told

RETRIES = 20  # as often as a task of SLURM's goes back to the queue


def check_ray() -> None:
    """Refuse to go on without Ray.

    Raises:
        UsageError: the package is not installed.
    """
    if find_spec("ray") is None:
        raise UsageError("--on ray: the package ray is not installed; pip install '.[ray]'")


def where(address: str | None, detach: bool) -> str:
    """The cluster's address: as given, else of ``RAY_ADDRESS``, else ``local`` for one on this machine.

    Raises:
        UsageError: nobody would be left to run the workers.
    """
    found = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if detach and found == LOCAL:
        raise UsageError("--detach: expected --address or RAY_ADDRESS; a cluster that is started here ends with it")
    return found


def submit(
    submission: Submission, address: str, environment: Mapping[str, str], detach: bool, dry_run: bool, stop: Stop
) -> int:
    """Run the workers; returns the exit code of all of them together.

    Args:
        submission: what to run.
        address: of a running cluster, or ``local``.
        environment: variables that the workers get besides those of their nodes.
        detach: return as soon as the cluster has the tasks.
        dry_run: only say what they would be.
        stop: tells when a signal came.

    Raises:
        UsageError: no cluster answers, or this machine has less than a worker asks for.
        Interrupted: a signal came; the workers have ended.
    """
    launch = f"fcs-{secrets.token_hex(4)}"
    tasks = _tasks(submission, environment, launch)
    options = _options(submission)
    if dry_run:
        asked = ", ".join(f"{name}={options[name]}" for name in ("num_gpus", "num_cpus", "max_retries"))
        print(f"{len(tasks)} tasks ({asked}) at {address}, FCS_WORKER=0 to {len(tasks) - 1}, each:")
        print(shlex.join(["python", *tasks[0].command[1:]]))
        return DONE
    import ray

    try:
        connect(address, submission)
        stop.install()  # Ray has put its own handler in place
        if detach:
            _detach(submission, tasks, options, launch, address)
            return DONE
        print(f"{launch}: {len(tasks)} workers at {address}")
        print(told(follow=submission.status, stop="Ctrl-C", go_on=submission.again), flush=True)
        refs = start(tasks, options)
        _wait(refs, stop)
        return together([_code(number, ref, options["max_retries"]) for number, ref in enumerate(refs)])
    finally:
        ray.shutdown()


def start(tasks: Sequence[WorkerTask], options: Mapping[str, Any]) -> list[Any]:
    """Hand the tasks to Ray; returns a reference to each one's exit code."""
    import ray

    remote = ray.remote(work)
    return [remote.options(**options, name=f"fcs worker {task.number}").remote(task) for task in tasks]


class DetachedRun:
    """An actor that owns the tasks of a run whose driver has left; gone when they have ended."""

    def __init__(self, tasks: Sequence[WorkerTask], options: Mapping[str, Any]) -> None:
        self._refs = start(tasks, options)

    def begun(self) -> int:
        """The number of tasks that Ray has."""
        return len(self._refs)

    def end(self) -> None:
        """Wait for all tasks, and leave."""
        import ray

        ray.wait(self._refs, num_returns=len(self._refs))
        ray.actor.exit_actor()


def _tasks(submission: Submission, environment: Mapping[str, str], launch: str) -> list[WorkerTask]:
    words = tuple(submission.words)
    count = submission.workers
    given: dict[str, str] = {"OMP_NUM_THREADS": str(submission.cpus), "PYTHONUNBUFFERED": "1", **environment}
    if not submission.gpus:
        given["CUDA_VISIBLE_DEVICES"] = ""
    return [WorkerTask(words, str(Path.cwd()), given, number, count, launch) for number in range(count)]


def _options(submission: Submission) -> dict[str, Any]:
    retries = RETRIES if submission.retries is None else submission.retries
    return {
        "num_gpus": submission.gpus,
        "num_cpus": submission.cpus,
        "max_retries": retries,
        "retry_exceptions": [LostWorker],
    }


def _wait(refs: Sequence[Any], stop: Stop) -> None:
    """Until all tasks have ended. A signal cancels them, a second one does not wait for that.

    Raises:
        Interrupted: a signal came.
    """
    import ray

    left, cancelled = list(refs), False
    while left and not (cancelled and stop.impatient):
        if stop.name is not None and not cancelled:
            cancelled = True
            for ref in left:
                ray.cancel(ref, force=False)
        _, left = ray.wait(left, num_returns=len(left), timeout=1.0)
    if cancelled:
        stop.check()


def together(codes: Sequence[int]) -> int:
    """The exit code that counts. A worker that ends well has found the run complete: those that were lost do not count.

    Where they do, says how to go on.
    """
    complete = [code for code in codes if code in (DONE, SOME_FAILED)]
    code = worst(code for code in codes if code != INTERRUPTED or not complete)
    if code == INTERRUPTED:
        print("fcs-submit: no worker is left; the same command continues the run", file=sys.stderr)
    return code


def _code(number: int, ref: Any, retries: int) -> int:
    """The exit code of a worker; one that Ray could not run, or not so often, says why."""
    import ray
    from ray.exceptions import NodeDiedError, RayError, TaskCancelledError, WorkerCrashedError

    more = ""
    try:
        return int(ray.get(ref))
    except (LostWorker, WorkerCrashedError, NodeDiedError) as error:
        code, reason, more = INTERRUPTED, error, f"; not started again, --retries={retries}"
    except TaskCancelledError as error:
        code, reason = INTERRUPTED, error
    except UsageError as error:
        code, reason = USAGE, error
    except RayError as error:
        code, reason = DEFECT, error
    cause = getattr(reason, "cause", None) or reason  # of a task's exception, whose own text is a traceback
    print(f"fcs-submit: worker {number}: {first_line(cause)}{more}", file=sys.stderr)
    return code


def _detach(
    submission: Submission, tasks: Sequence[WorkerTask], options: Mapping[str, Any], launch: str, address: str
) -> None:
    import ray

    owner = ray.remote(DetachedRun).options(name=launch, lifetime="detached", num_cpus=0).remote(tasks, options)
    ray.get(owner.begun.remote())
    owner.end.remote()
    kill = f"import ray; ray.init({address!r}, namespace={NAMESPACE!r}); ray.kill(ray.get_actor({launch!r}))"
    print(f"{launch}: {len(tasks)} workers at {address}")
    print(told(follow=submission.status, stop=shlex.join(["python", "-c", kill]), go_on=submission.again))

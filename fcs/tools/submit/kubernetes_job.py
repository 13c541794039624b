"""Kubernetes: the workers are the pods of an Indexed Job.

The fields are those of batch/v1 and v1 as of Kubernetes 1.33, which is the first where all of them are stable; 1.29 has
them by default.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fcs.core.errors import UsageError
from fcs.core.exit_codes import DEFECT, SOME_FAILED, TOO_MANY_FAILURES, USAGE
from fcs.shards.ledger.retry import LAUNCH
from fcs.tools.submit.submission import Submission, told

RETRIES = 20  # as often as a task of SLURM's goes back to the queue
SPARE = 40  # seconds between the grace and the kill, for what is on its way to the store
CONTAINER = "fcs"
CONFIGS = "/fcs-configs"  # where a configuration file of this machine is found in the pod
LABEL = {"app.kubernetes.io/name": "fcs"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONGEST = 63  # characters of a pod's host name: the job's name, a dash and the index


@dataclass(frozen=True)
class Pods:
    """What a pod needs that a SLURM task or a Ray task has already.

    Attributes:
        image: container image with fcs in it.
        claim: name of a PersistentVolumeClaim (ReadWriteMany), or None where ``out`` is in an object store.
        mount: where it is seen; also the working directory.
        name: of the job; None has Kubernetes make one for each submission.
        namespace: or None for kubectl's own.
        secret: whose keys become environment variables, such as the store's credentials.
        environment: further variables.
    """

    image: str
    claim: str | None
    mount: str
    name: str | None
    namespace: str | None
    secret: str | None
    environment: Mapping[str, str]


def check_kubectl() -> None:
    """Refuse to go on without kubectl.

    Raises:
        UsageError: it is not on PATH.
    """
    if shutil.which("kubectl") is None:
        raise UsageError("kubectl: not on PATH; without --apply the manifest is printed, for kubectl create -f -")


def check_name(name: str, workers: int) -> None:
    """Refuse a name that Kubernetes would refuse.

    Raises:
        UsageError: it is none.
    """
    room = LONGEST - 1 - len(str(workers - 1))
    if not _NAME.fullmatch(name) or len(name) > room:
        raise UsageError.of("--name", name, f"small letters, digits and dashes between them, at most {room}")


def submit(submission: Submission, pods: Pods, apply: bool) -> None:
    """Print the manifest, or hand it to kubectl; say what to do next.

    Raises:
        UsageError: ``out`` would be lost with its pod, or kubectl refuses the job, in its own words.
    """
    text = yaml.dump(manifest(submission, pods), Dumper=_Dumper, sort_keys=False, width=100)
    where = [] if pods.namespace is None else ["--namespace", pods.namespace]
    if not apply:
        name = pods.name or "NAME"  # which kubectl create says
        print(f"# kubectl {shlex.join(['create', *where, '-f', '-'])}")
        print(re.sub("^", "# ", _next(submission, where, name), flags=re.MULTILINE))
        print(text, end="")
        return
    line = ["kubectl", "create", *where, "-f", "-", "-o", "name"]
    done = subprocess.run(line, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [row for row in done.stderr.splitlines() if row.strip()]
        raise UsageError(f"kubectl: {said[-1] if said else f'ended with {done.returncode}'}")
    name = done.stdout.strip().rpartition("/")[2]
    print(f"job {name}: {submission.workers} pods")
    print(_next(submission, where, name))


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: a text of several lines as lines, nothing by reference.

    Quoted is what other readers take for something else: kubectl a bare ``n`` for false and ``1e3`` for a number.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None if re.match("[A-Za-z]{2}", data) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _next(submission: Submission, where: list[str], name: str) -> str:
    pods = shlex.join(["kubectl", "get", *where, "pods", "-l", f"batch.kubernetes.io/job-name={name}"])
    stop = shlex.join(["kubectl", "delete", *where, "job", name])
    return told(follow=f"{submission.status}; {pods}", stop=stop, go_on=submission.again)


def manifest(submission: Submission, pods: Pods) -> dict[str, Any]:
    """The job as plain data.

    Raises:
        UsageError: ``out`` is on no volume and in no store, so that it would be lost with its pod.
    """
    if pods.claim is None and "://" not in submission.out:
        expected = "a URL such as s3://bucket/run, or a volume: --claim NAME"
        raise UsageError.of("out", submission.out, expected)
    stem = re.sub("[^a-z0-9]+", "-", Path(submission.configs[-1]).stem.lower()).strip("-")[:30]
    name = {"generateName": f"fcs-{stem}-"} if pods.name is None else {"name": pods.name}
    namespace = {} if pods.namespace is None else {"namespace": pods.namespace}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**name, **namespace, "labels": LABEL},
        "spec": {
            "completions": submission.workers,
            "parallelism": submission.workers,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": RETRIES if submission.retries is None else submission.retries,
            "podFailurePolicy": {"rules": rules()},
            "template": _template(submission, pods),
        },
    }


def rules() -> list[dict[str, Any]]:
    """What becomes of the job when a pod fails; the first that fits counts.

    A pod that none fits (75: interrupted, 74: storage or GPU, 137: killed) is started again, and that is counted.
    """
    return [
        {"action": "FailJob", "onExitCodes": _codes(USAGE, TOO_MANY_FAILURES)},  # every pod would end so
        {"action": "FailIndex", "onExitCodes": _codes(SOME_FAILED, DEFECT)},  # not again; the other pods go on
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},  # preempted, drained
    ]


def _codes(*values: int) -> dict[str, Any]:
    return {"containerName": CONTAINER, "operator": "In", "values": sorted(values)}


def _template(submission: Submission, pods: Pods) -> dict[str, Any]:
    files = {name: place for name, place in _places(submission.configs).items() if os.path.isfile(name)}
    annotations = {_key(place): Path(name).read_text() for name, place in files.items()}
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if pods.claim is not None:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": pods.claim}})
        mounts.append({"name": "data", "mountPath": pods.mount})
    if files:  # as annotations they are part of the job, and go with it
        items = [
            {"path": place, "fieldRef": {"fieldPath": f"metadata.annotations['{_key(place)}']"}}
            for place in files.values()
        ]
        volumes.append({"name": "configs", "downwardAPI": {"items": items}})
        mounts.append({"name": "configs", "mountPath": CONFIGS, "readOnly": True})
    return {
        "metadata": {"labels": LABEL, **({"annotations": annotations} if annotations else {})},
        "spec": {
            "restartPolicy": "Never",  # the job starts pods again, by its rules
            "terminationGracePeriodSeconds": math.ceil(submission.grace) + SPARE,
            "containers": [_container(submission, pods, files, mounts)],
            **({"volumes": volumes} if volumes else {}),
        },
    }


def _container(
    submission: Submission, pods: Pods, files: Mapping[str, str], mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    words = [f"{CONFIGS}/{files[word]}" if word in files else word for word in submission.words]
    given = {"OMP_NUM_THREADS": str(submission.cpus), "PYTHONUNBUFFERED": "1", **pods.environment}
    job = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}
    gpus = {"limits": {"nvidia.com/gpu": str(submission.gpus)}} if submission.gpus else {}
    return {
        "name": CONTAINER,
        "image": pods.image,
        # Itself, not by a shell, so that the signal of a pod that must go reaches it.
        "command": ["fcs-predict"],
        "args": [word.replace("$(", "$$(") for word in words],  # $(NAME) would be a variable
        **({"workingDir": pods.mount} if pods.claim is not None else {}),
        "env": [*({"name": key, "value": value} for key, value in given.items()), {"name": LAUNCH, "valueFrom": job}],
        **({"envFrom": [{"secretRef": {"name": pods.secret}}]} if pods.secret is not None else {}),
        "resources": {"requests": {"cpu": str(submission.cpus)}, **gpus},
        **({"volumeMounts": mounts} if mounts else {}),
    }


def _places(configs: tuple[str, ...]) -> dict[str, str]:
    """Where each lies below CONFIGS: in a folder of its own under its name, which ``out`` may follow from."""
    return {name: f"{place}/{Path(name).name}" for place, name in enumerate(configs)}


def _key(place: str) -> str:
    return f"fcs/config-{place.partition('/')[0]}"

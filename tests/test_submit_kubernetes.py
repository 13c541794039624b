"""The Indexed Job: its fields, and that its command run by three pods at once gives what one process gives."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from helpers import forked
from helpers.waiting import GUARD

from fcs.core import exit_codes
from fcs.tools.cli.predict import main as predict
from fcs.tools.cli.submit import main

KUBECTL = """#!/bin/bash
printf '%s\\n' "$*" >given
cat >manifest
if [[ $FAILS ]]; then echo 'error: the server could not find the requested resource' >&2; exit 1; fi
echo job.batch/fcs-digits-inpaint-x2k4f
"""
CONFIG = "data:\n  shards: ${package}/samples/digits/mixed.tar\nmodel:\n  name: digits-16\n# the end\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["digits_inpaint", "--on", "kubernetes", "--image", "site/fcs:1", *words])
    streams = capsys.readouterr()
    assert code == 0, streams.err
    return streams.out


def manifest(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    return yaml.safe_load(printed(capsys, *words))


def container(job: dict[str, Any]) -> dict[str, Any]:
    (one,) = job["spec"]["template"]["spec"]["containers"]
    return one


def variables(job: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(job)["env"] if "value" in one}


def test_a_pod_for_each_worker(capsys: pytest.CaptureFixture[str]) -> None:
    job = manifest(capsys, "--workers", "5", "out=s3://bucket/run", "--retries", "7", "trainer.grace=12.5")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["metadata"]["generateName"] == "fcs-digits-inpaint-"  # the same line again makes another job
    spec = job["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (5, 5, "Indexed")
    assert spec["backoffLimitPerIndex"] == 7
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what podFailurePolicy and backoffLimitPerIndex ask for
    assert pod["terminationGracePeriodSeconds"] > 12.5
    assert "volumes" not in pod
    assert container(job)["resources"] == {"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": "1"}}
    assert variables(job)["OMP_NUM_THREADS"] == "4"


def outcome(job: dict[str, Any], code: int, disrupted: bool = False) -> str:
    """What Kubernetes does about a failed pod: the action of the first rule that fits, else Count."""
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        assert ("onExitCodes" in rule) != ("onPodConditions" in rule)  # one of them, not both
        codes = rule.get("onExitCodes")
        if codes:
            assert (codes["containerName"], codes["operator"]) == (container(job)["name"], "In")
            assert codes["values"] == sorted(set(codes["values"]))
            assert 0 not in codes["values"]
            if code in codes["values"]:
                return rule["action"]
        elif disrupted and rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]:
            return rule["action"]
    return "Count"


def test_what_becomes_of_a_pod_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    job = manifest(capsys, "--workers", "2", "--claim", "data")
    found = {code: outcome(job, code) for code in (*exit_codes.ALL[1:], 137)}
    assert found == {
        exit_codes.USAGE: "FailJob",
        exit_codes.SOME_FAILED: "FailIndex",
        exit_codes.TOO_MANY_FAILURES: "FailJob",
        exit_codes.DEFECT: "FailIndex",
        exit_codes.STORAGE: "Count",
        exit_codes.INTERRUPTED: "Count",
        137: "Count",
    }
    assert outcome(job, exit_codes.INTERRUPTED, disrupted=True) == "Ignore"
    assert outcome(job, exit_codes.USAGE, disrupted=True) == "FailJob"


def test_a_volume_is_where_relative_paths_are(capsys: pytest.CaptureFixture[str]) -> None:
    job = manifest(capsys, "--workers", "2", "--claim", "claim", "--mount", "/work", "--gpus", "0")
    assert job["spec"]["template"]["spec"]["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}
    ]
    one = container(job)
    assert one["volumeMounts"] == [{"name": "data", "mountPath": "/work"}]
    assert one["workingDir"] == "/work"
    assert "limits" not in one["resources"]


def test_a_file_of_this_machine_goes_with_the_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "mine.yaml").write_text(CONFIG.replace("end", folder))
    files = ["--config", "a/mine.yaml", "--config", f"{here}/b/mine.yaml"]
    job = manifest(capsys, "--workers", "2", "out=s3://bucket/run", *files)
    template, one = job["spec"]["template"], container(job)
    (volume,), (mount,) = template["spec"]["volumes"], one["volumeMounts"]
    placed = {}
    for item in volume["downwardAPI"]["items"]:
        key = item["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
        placed[f"{mount['mountPath']}/{item['path']}"] = template["metadata"]["annotations"][key]
    given = [one["args"][place + 1] for place, word in enumerate(one["args"]) if word == "--config"]
    assert given[0] == "digits_inpaint"
    assert [placed[path] for path in given[1:]] == [CONFIG.replace("end", "a"), CONFIG.replace("end", "b")]
    assert all(path.endswith("/mine.yaml") for path in given[1:])  # by which out is called


def test_values_reach_the_command_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "data.prompt=a $(HOME) of 'wood': \"red\" #1"
    job = manifest(capsys, "--workers", "2", "out=s3://b/${seed}", prompt, "--env", "A=b=c", "--secret", "keys")
    one = container(job)
    assert one["command"] == ["fcs-predict"]
    # Kubernetes puts a variable in place of $(HOME), and $(HOME) in place of $$(HOME).
    assert one["args"][-2:] == ["out=s3://b/${seed}", prompt.replace("$(", "$$(")]
    assert variables(job)["A"] == "b=c"
    assert one["envFrom"] == [{"secretRef": {"name": "keys"}}]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here")
def test_kubectl_knows_every_field(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It reads a manifest into the types of its API and leaves out what these do not have."""
    (here / "mine.yaml").write_text(CONFIG)
    words = ["--workers", "2", "--config", "mine.yaml", "--claim", "c", "--secret", "s", "--namespace", "n"]
    words += ["--env", "A=1e3", "--env", "B=0o17", "--env", "C=yes", "--env", "E=1:30"]
    text = printed(capsys, *words)

    def read(text: str) -> dict[str, Any]:
        line = ["kubectl", "set", "image", "--local", "-f", "-", "fcs=other", "-o", "json"]
        done = subprocess.run(line, input=text, capture_output=True, text=True, check=True, timeout=GUARD)
        return json.loads(done.stdout)

    def only(whole: Any, like: Any) -> Any:
        """Of ``whole`` what ``like`` has too."""
        if isinstance(like, dict):
            return {key: only(whole[key], value) for key, value in like.items() if key in whole}
        if isinstance(like, list):
            return [only(one, other) for one, other in zip(whole, like, strict=True)]
        return whole

    def known(text: str) -> bool:
        given = yaml.safe_load(text.replace("site/fcs:1", "other"))
        return only(read(text), given) == given

    assert known(text)
    assert not known(text.replace("backoffLimitPerIndex", "backoffLimitPerIndices"))


@pytest.fixture
def kubectl(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in; returns the file of what it was given."""
    (here / "bin").mkdir()
    (here / "bin" / "kubectl").write_text(KUBECTL)
    (here / "bin" / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:/usr/bin:/bin")
    return here / "given"


def test_apply_hands_the_same_manifest_to_kubectl(kubectl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--workers", "2", "--claim", "data", "--namespace", "ml"]
    only_printed = printed(capsys, *words)
    said = printed(capsys, *words, "--apply", "--dry-run")
    assert said.replace(" --apply --dry-run", "") == only_printed
    assert not kubectl.exists()
    said = printed(capsys, *words, "--apply")
    assert kubectl.read_text() == "create --namespace ml -f - -o name\n"
    assert yaml.safe_load((kubectl.parent / "manifest").read_text()) == yaml.safe_load(only_printed)
    assert said.startswith("job fcs-digits-inpaint-x2k4f: 2 pods\n")
    again = shlex.join(["fcs-submit", "digits_inpaint", "--on", "kubernetes", "--image", "site/fcs:1", *words])
    for part in ("fcs-status runs/digits_inpaint", "delete --namespace ml job fcs-digits-inpaint-x2k4f", again):
        assert part in said


def test_what_kubectl_refuses_is_said_in_its_words(
    kubectl: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAILS", "1")
    words = ["digits_inpaint", "--on", "kubernetes", "--image", "x", "--workers", "2", "--claim", "c", "--apply"]
    assert main(words) == 2
    assert capsys.readouterr().err == "fcs-submit: kubectl: error: the server could not find the requested resource\n"


def test_three_pods_on_one_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["steps=1", "sampler=ddim", "data.limit=24", "data.batch_size=1"]  # three slices
    settings += ["data.workers=1", "previews.max=0"]
    assert predict(["--config", "digits_inpaint", "out=alone", *settings]) == 0
    capsys.readouterr()
    job = manifest(capsys, "--workers", "3", "--claim", "data", "out=run", "--cpus", "1", "--gpus", "0", *settings)
    one = container(job)
    assert one["command"] == ["fcs-predict"]  # whose module is run here
    line = [sys.executable, "-m", "fcs.tools.cli.predict", *one["args"]]
    given = {name: value for name, value in variables(job).items() if name != "PYTHONUNBUFFERED"}  # for a real start
    pods = []
    for index in range(job["spec"]["completions"]):
        environment = {**os.environ, **given, "JOB_COMPLETION_INDEX": str(index)}
        pods.append(forked.Popen(line, env=environment, stdout=subprocess.DEVNULL))
    assert [pod.wait(GUARD) for pod in pods] == [0, 0, 0]
    assert written(here / "run") == written(here / "alone")
    assert len(written(here / "run")[1]) == 24


def written(out: Path) -> tuple[str, list[tuple[str, str, int]]]:
    """Hash of the results, and their rows."""
    rows = pq.read_table(out / "metrics" / "mixed.parquet").to_pylist()
    tar = hashlib.sha256((out / "shards" / "mixed.tar").read_bytes()).hexdigest()
    return tar, [(row["key"], row["status"], row["seed"]) for row in rows]

"""``fcs-submit``: what it refuses, and the command line that SLURM gets."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from helpers.waiting import GUARD

from fcs.core.errors import UsageError
from fcs.core.package_files import SCRIPTS
from fcs.tools.cli.submit import main
from fcs.tools.submit.ray_cluster import GREETING, check_answers
from fcs.tools.submit.ray_run import together

RUN = ["digits_inpaint", "steps=2", "out=run"]
SLURM = [*RUN, "--on", "slurm", "--workers", "3"]
PODS = [*RUN, "--on", "kubernetes", "--workers", "3"]
# What it was given; a job's number, or what SLURM says of a mistake.
SBATCH = """#!/bin/bash
printf '%s\\n' "$@" "FCS_MAX_REQUEUE=$FCS_MAX_REQUEUE" >>given
if [[ $* == *--partition=none* ]]; then
    echo "sbatch: error: invalid partition specified: none" >&2
    exit 1
fi
echo "17;cluster"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and nothing on PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


@pytest.fixture
def sbatch(here: Path) -> Path:
    """A stand-in for sbatch; returns the file of what it was given."""
    (here / "bin").mkdir()
    (here / "bin" / "sbatch").write_text(SBATCH)
    (here / "bin" / "sbatch").chmod(0o755)
    return here / "given"


MISTAKES = {
    "": ["CONFIG"],
    "digits_inpaint": ["--on: expected one of slurm, ray, kubernetes"],
    "digits_inpaint --on slrm --workers 2": ["--on=slrm", "did you mean slurm?"],
    "digits_inpaint --on slurm": ["--workers: expected"],
    "digits_inpaint --on slurm --workers 0": ["--workers=0", "1 or above"],
    "digits_inpaint --on slurm --workers two": ["--workers=two", "a whole number"],
    "digits_inpaint --on slurm --workers 2 --gpus -1": ["--gpus=-1", "0 or above"],
    "digits_inpaint --on slurm --workers 2 --cpus 0": ["--cpus=0", "1 or above"],
    "digits_inpaint --on slurm --workers 2 --retries x": ["--retries=x", "0 or above"],
    "digits_inpaint --on slurm --workers 2 --wrkers 3": ["--wrkers", "did you mean --workers?"],
    "digits_inpaint --on slurm --workers": ["--workers", "expected one argument"],
    "digits_inpaint --on slurm --workers 2 more": ["more: expected nothing more"],
    "digits_inpaint --on slurm --workers 2": ["sbatch: not on PATH", "--dry-run"],
    "digits_inpaint --on slurm --workers 2 --image x": ["--image", "--on kubernetes, not slurm"],
    "digits_inpaint --on slurm --workers 2 --env A=1": ["--env", "--on ray or kubernetes, not slurm"],
    "digits_inpaint --on kubernetes --workers 2 --detach": ["--detach", "--on ray, not kubernetes"],
    "digits_inpaint --on slurm --workers 2 --dry-run seps=3": ["seps=3", "did you mean steps?"],
    "digits_inpaint --on slurm --workers 2 --dry-run steps=x": ["steps=x", "a whole number above 0"],
    "digits_inpaint --on slurm --workers 2 --dry-run data.shards=no/*.tar": ["data.shards=no/*.tar", "glob"],
    "digits_inpant --on slurm --workers 2 --dry-run": ["digits_inpant", "did you mean digits_inpaint?"],
    "digits_inpaint --config more.yaml --on slurm --workers 2 --dry-run": ["--config=more.yaml", "a file"],
    "digits_inpaint --on ray --workers 2 --detach": ["--detach", "--address or RAY_ADDRESS"],
    "digits_inpaint --on ray --workers 2 --dry-run --env 1A=2": ["--env=1A=2", "NAME=VALUE"],
    "digits_inpaint --on ray --workers 2 -- --partition=x": ["--partition=x", "nothing after --", "ray"],
    "digits_inpaint --on kubernetes --workers 2": ["--image", "container image"],
    "digits_inpaint --on kubernetes --workers 2 --image x": ["out=runs/digits_inpaint", "s3://", "--claim"],
    "digits_inpaint --on kubernetes --workers 2 --image x --mount /x": ["--mount=/x", "--claim"],
    "digits_inpaint --on kubernetes --workers 2 --image x --claim c --mount x": ["--mount=x", "absolute"],
    "digits_inpaint --on kubernetes --workers 2 --image x --claim c --name A_b": ["--name=A_b", "at most 61"],
    "digits_inpaint --on kubernetes --workers 2 --image x --claim c --env =": ["--env==", "NAME=VALUE"],
    "digits_inpaint --on kubernetes --workers 2 --image x --claim c --apply": ["kubectl: not on PATH", "--apply"],
}


@pytest.mark.parametrize("line", MISTAKES)
def test_each_mistake_is_one_line(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(shlex.split(line))
    streams = capsys.readouterr()
    assert (code, streams.out) == (2, ""), streams.err
    (said,) = streams.err.splitlines()
    assert said.startswith("fcs-submit: ")
    assert all(part in said for part in MISTAKES[line]), said
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_said_at_once(scheme: str) -> None:
    with socket.socket() as silent:  # bound, so that nobody else listens there
        silent.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"--address={address}: expected a running cluster.*refused"):
            check_answers(address)
    check_answers("auto")


@pytest.mark.parametrize(
    ("answer", "ray"),
    [(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes(6), True), (b"HTTP/1.1 400 Bad Request\r\n\r\n", False), (b"", False)],
    ids=["settings", "a web server", "nothing"],
)
def test_what_listens_but_is_not_ray_is_said(answer: bytes, ray: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                assert peer.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
                peer.sendall(answer)

        served = pool.submit(serve)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with nullcontext() if ray else pytest.raises(UsageError, match=f"--address={address}: .* does not speak gRPC"):
            check_answers(address)
        served.result()


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0, 75, 0], 0), ([3, 75, 0], 3), ([75, 75], 75), ([75, 0, 74], 74), ([0, 2], 2), ([75, 70], 70)],
)
def test_a_lost_worker_counts_only_where_nobody_did_its_work(
    codes: list[int], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert together(codes) == expected
    assert ("the same command continues the run" in capsys.readouterr().err) == (expected == 75)


def test_without_ray_the_extra_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcs.tools.submit.ray_run.find_spec", lambda name: None)
    assert main([*RUN, "--on", "ray", "--workers", "2"]) == 2
    assert "pip install '.[ray]'" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_what_needs_no_configuration_imports_no_torch() -> None:
    code = (
        "import sys; from fcs.tools.cli.submit import main\n"
        f"assert main(['--help']) == 0; assert main(['--version']) == 0; assert main({SLURM[:-1]} + ['0']) == 2\n"
        f"assert main({PODS}) == 2; assert main({SLURM} + ['sed=1', '--dry-run']) == 2\n"
        "sys.exit(bool({'torch', 'lightning', 'ray'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=GUARD, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "fcs-submit CONFIG [key=value ...] --on ENGINE --workers N" in ended.stdout


def test_an_array_of_as_many_tasks(sbatch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sbatch.parent / "more.yaml").write_text("seed: 3\n")
    line = [*SLURM, "--config", "more.yaml", "--gpus", "2", "--cpus", "5", "--", "--partition=gpu", "--time=1:00"]
    assert main(line) == 0
    assert sbatch.read_text().splitlines() == [
        *("--parsable", "--array=0-2", "--gpus=2", "--cpus-per-task=5", "--partition=gpu", "--time=1:00"),
        *(str(SCRIPTS / "array.sbatch"), "digits_inpaint", "--config", "more.yaml", "steps=2", "out=run"),
        "FCS_MAX_REQUEUE=",
    ]
    said = capsys.readouterr().out
    assert said.startswith("job 17: an array of 3")
    for part in ("fcs-status run", "scancel 17", f"fcs-submit {shlex.join(line)}", "--dependency=afterany:17"):
        assert part in said


def test_without_gpus_none_is_asked_for(sbatch: Path) -> None:
    assert main([*SLURM, "--gpus", "0", "--retries", "4"]) == 0
    given = sbatch.read_text().splitlines()
    assert not any("gpu" in word for word in given)
    assert given[-1] == "FCS_MAX_REQUEUE=4"


def test_what_sbatch_refuses_is_said_in_its_words(sbatch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SLURM, "--", "--partition=none"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == "fcs-submit: sbatch: error: invalid partition specified: none\n"


def test_a_dry_run_prints_a_command_that_the_shell_takes(sbatch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SLURM, "data.prompt=a 'red' $apple", "--retries", "4", "--dry-run"]) == 0
    assert not sbatch.exists()
    environment = {**os.environ, "PATH": f"{sbatch.parent / 'bin'}:/usr/bin:/bin"}
    subprocess.run(capsys.readouterr().out, shell=True, check=True, env=environment, cwd=sbatch.parent)
    given = sbatch.read_text().splitlines()
    assert given[-2:] == ["data.prompt=a 'red' $apple", "FCS_MAX_REQUEUE=4"]

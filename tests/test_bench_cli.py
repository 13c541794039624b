"""The command's own ways: help without torch, missing packages, signals between runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import fcs
from fcs.bench import ablate, cli
from fcs.bench.cli import COMMANDS, main
from fcs.bench.methods import METHODS
from fcs.bench.options import OPTIONS


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_needs_no_torch(name: str) -> None:
    script = f"import sys; from fcs.bench.cli import main; main({[name, '--help'] if name else []}); "
    script += "assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert f"usage: fcs-bench {name}".rstrip() in said
    assert ("key=value: overrides" in said) == (name in OPTIONS)
    if name in ("compare", "tune"):
        assert all(method in said for method in METHODS)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fcs-bench {fcs.__version__}\n"


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["comparee"]) == 2
    assert "COMMAND=comparee: expected one of compare, tune, fit, ablate, equal, gpu; did you mean compare?" in (
        capsys.readouterr().err
    )


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "NEEDED", ("scipy", "no_such_package"))
    assert main(["ablate", "--config", "digits_half", "--out", "unused"]) == 2
    assert "found no no_such_package: pip install '.[bench]'" in capsys.readouterr().err


def test_a_signal_between_runs_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ablate, "run", lambda options, overrides: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["ablate", "--config", "digits_half", "--out", "unused"]) == 75
    assert "stopped by SIGTERM" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before

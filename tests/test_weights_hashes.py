"""Weights are read once a run; files that changed are read again, and a continued run with others is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers.runs import DIGITS_RUN

from fcs.engine.weights_hashes import hash_of, look
from fcs.models.loading import EMBEDDED, Found
from fcs.tools.cli.predict import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"one")
    return tmp_path / "weights"


def never() -> str:
    raise AssertionError("the weights were read")


def test_files_as_they_were_are_not_read_again(file: Path) -> None:
    first = hash_of([file], lambda: "abc", None)
    pinned = json.loads(json.dumps({"sha256": first.sha256, "files": first.files}))
    assert hash_of([file], never, pinned) == first


def test_files_that_changed_are(file: Path) -> None:
    first = hash_of([file], lambda: "abc", None)
    pinned = {"sha256": first.sha256, "files": first.files}
    before = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # of the same size and date
    assert look([file])[0][:3] == first.files[0][:3]
    assert hash_of([file], lambda: "other", pinned).sha256 == "other"
    assert hash_of([file], lambda: "other", {"sha256": 5, "files": look([file])}).sha256 == "other"
    other = file.with_name("elsewhere")
    other.write_bytes(b"two")
    assert hash_of([other], lambda: "there", pinned).sha256 == "there"


def test_a_run_hashes_once_and_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(EMBEDDED / "digits-16", tmp_path / "model")
    read: list[str] = []
    monkeypatch.setattr(Found, "sha256", lambda found, real=Found.sha256: read.append(found.name) or real(found))
    command = ["--config", "digits_inpaint", f"model.name={model}", f"out={tmp_path}/run", *DIGITS_RUN]
    assert main([*command, "--prepare"]) == 0
    assert main([*command, "--dry-run"]) == 0
    assert read == [str(model)]
    (weights,) = [path for path in model.glob("*/*.safetensors") if path.parent.name == "unet"]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    capsys.readouterr()
    assert main(command) == 2
    assert "model.sha256=" in capsys.readouterr().err
    assert not (tmp_path / "run" / "shards").exists()

"""Names that the file system does not take, and shards whose results would want one name for two things."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.tars import pixels, tar

from fcs.core.errors import UsageError
from fcs.engine.async_writer import _flat
from fcs.shards.ledger.stem_names import check_stems
from fcs.shards.store.local import LocalStore
from fcs.tools.cli import pack, predict, report, status

PICTURE = pixels(np.full((16, 16), 255, np.uint8))
LONG, LOOP = "n" * 300, "loop"
TASK = ["-c", "digits_inpaint", "data.shards=in.tar", "steps=1"]
COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "status": (status.main, ["NAME"]),
    "report": (report.main, ["NAME"]),
    "pack from": (pack.main, ["NAME", "out"]),
    "pack to": (pack.main, ["pictures", "NAME"]),
    "pack to below": (pack.main, ["pictures", "in.tar/NAME"]),
    "masks": (pack.main, ["pictures", "out", "--mask-folder", "NAME"]),
    "out": (predict.main, [*TASK, "out=NAME"]),
    "mask": (predict.main, [*TASK, "out=out", "data.mask=NAME"]),
    "lora": (predict.main, [*TASK, "out=out", "model.lora=[NAME]"]),
    "network": (predict.main, [*TASK, "out=out", "metrics.scores=[lpips]", "metrics.lpips=NAME"]),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOOP).symlink_to(LOOP)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PICTURE)
    (tmp_path / "in.tar").write_bytes(tar([("a.png", PICTURE), ("a.mask.png", PICTURE)]))
    return tmp_path


@pytest.mark.parametrize("name", [LONG, LOOP])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_the_file_system_does_not_take_is_one_line(
    here: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.rglob("*"))
    main, words = COMMANDS[command]
    assert main([word.replace("NAME", name) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected" in line
    assert len(line) < 400
    assert sorted(here.rglob("*")) == before


def test_a_shard_whose_results_have_no_names_is_refused_before_the_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "s" * 240
    Path("in.tar").rename(f"{name}.tar")
    assert predict.main(["-c", "digits_inpaint", f"data.shards={name}.tar", "out=out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a name of at most 229 bytes before its suffix, not 240" in line
    assert not Path("out").exists()


def test_the_longest_name_and_the_deepest_folders_have_results(here: Path) -> None:
    shard = Path("d" * 200, "e" * 200, f"{'s' * 229}.tar")
    shard.parent.mkdir(parents=True)
    Path("in.tar").rename(shard)
    Path(shard.parents[1], "other.tar").write_bytes(shard.read_bytes())
    given = [f"data.shards=[{shard},{shard.parents[1]}/other.tar]", "out=out", "data.resize=crop", "steps=1"]
    assert predict.main(["-c", "digits_inpaint", *given]) == 0
    assert len(list(Path("out", "previews").iterdir())) == 2


def test_names_that_the_output_has_no_letters_for_are_escaped(digits_run: Path, here: Path) -> None:
    name = os.fsdecode(b"caf\xe9")  # no UTF-8
    Path(name).mkdir()
    Path(name, "a.png").write_bytes(PICTURE)
    Path(name, "linked").symlink_to("/")
    shutil.copytree(digits_run, f"{name}-run")
    commands = (["pack", name, f"{name}-out"], ["report", f"{name}-run", "--records", "0"])
    for command, *words in commands:
        module = [sys.executable, "-m", f"fcs.tools.cli.{command}", *words]
        done = subprocess.run(module, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"caf\\udce9" in done.stdout


@pytest.mark.parametrize("stem", ["a/000000", "a/merge", "a/00000000-00000007/b", "a/merge.json/b", "a.json/b"])
def test_shards_whose_files_would_clash_are_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(UsageError, match=r"data\.shards=.*: expected another name, or no shard a beside it"):
        check_stems(LocalStore(tmp_path), ["a", stem])
    check_stems(LocalStore(tmp_path), ["b", stem])
    check_stems(LocalStore(tmp_path), ["a", "a/b", "a/1", "a.v2/b"])


def test_a_contact_sheet_has_a_name_of_bounded_length() -> None:
    assert _flat("a/b") == "a-b"
    assert len(_flat("é/" * 300).encode()) <= 200

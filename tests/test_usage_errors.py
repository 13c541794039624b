"""Every usage error: one line with key, value, what was expected and the nearest name; exit 2; nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.runs import DIGITS_RUN
from helpers.waiting import GUARD

from fcs.core.package_files import KEYS
from fcs.engine.config import key_help
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli.predict import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that anything written is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fcs.tools.cli.predict.START_SECONDS", GUARD)  # on a loaded machine the announcement comes too
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a refused command says."""
    code = main(list(arguments))
    streams = capsys.readouterr()
    assert code == 2, streams.err
    assert streams.out == ""
    lines = streams.err.splitlines()
    assert len(lines) == 1, streams.err
    assert lines[0].startswith("fcs-predict: ")
    return lines[0]


MISTAKES = {
    "data.batchsize=3": ["data.batchsize=3", "did you mean data.batch_size?"],
    "fomat=png": ["fomat=png", "did you mean format?"],
    "smapler=newton": ["smapler=newton", "did you mean sampler?"],
    "data=5": ["data=5", "data.shards"],
    "data.batch_size=abc": ["data.batch_size=abc", "a whole number above 0"],
    "data.batch_size=0": ["data.batch_size=0", "a whole number above 0"],
    "steps=2.5": ["steps=2.5", "a whole number above 0"],
    "steps=1001": ["steps=1001", "1 to 1000"],
    "seed=-1": ["seed=-1", "0 or above"],
    "guidance=abc": ["guidance=abc", "a number"],
    "guidance=nan": ["guidance=nan", "a number"],
    "guidance=2": ["guidance=2", "1 for a model without prompts"],
    "format=gif": ["format=gif", "png, jpg, webp"],
    "levels=odd": ["levels=odd", "even, paper"],
    "copy_inputs=perhaps": ["copy_inputs=perhaps", "true or false"],
    "trainer.precision=64": ["trainer.precision=64", "32, 16, bf16"],
    "trainer.devices=0": ["trainer.devices=0", "a whole number above 0"],
    "trainer.grace=-1": ["trainer.grace=-1", "a number above 0"],
    "previews.max=-1": ["previews.max=-1", "0 or above"],
    "metrics.scores=[lpip]": ["metrics.scores=[lpip]", "lpips, clip, style"],
    "metrics.features=[dino]": ["metrics.features=[dino]", "clip, dinov2, inception, digits, random"],
    "metrics.features=[dinov2]": ["metrics.dinov2=null", "a folder in transformers' format"],
    "trainer.logger=csvloger": ["trainer.logger=csvloger", "did you mean csvlogger?"],
    "data.resize=stretch": ["data.resize=stretch", "none, crop, pad"],
    "task=inpant": ["task=inpant", "did you mean inpaint?"],
    "task.paste=maybe": ["task.paste=maybe", "true or false"],
    "task.operator.x=1": ["task.operator.x=1: expected a known key"],
    "task.pste=true": ["task.pste=true", "did you mean task.paste?"],
    "sampler=newtn": ["sampler=newtn", "did you mean newton?"],
    "sampler=fcs.samplers.Replacemnt": ["sampler=fcs.samplers.Replacemnt", "did you mean fcs.samplers.Replacement?"],
    "sampler=fcs.tasks.Inpaint": ["sampler=fcs.tasks.Inpaint", "a sampler"],
    "sampler.direction=gradiant": ["sampler.direction=gradiant", "did you mean gradient?"],
    "sampler.step_sizes=abc": ["sampler.step_sizes=abc", "a list, each a number"],
    "sampler.difference=-1": ["difference=-1", "a number above 0"],
    "sampler.difference=abc": ["difference=abc", "a number"],
    "model.name=digits-17": ["model.name=digits-17", "did you mean digits-16?"],
    "model.name=": ["model.name="],
    "data.shards=nowhere/*.tar": ["data.shards=nowhere/*.tar", "glob"],
    "data.shards=nowhere.tar": ["data.shards=nowhere.tar", "existing file"],
    "data.shards=pipe:cat x.tar": ["data.shards=pipe:cat x.tar"],
    "out=https://host/x": ["out=https://host/x", "a folder"],
    "nonsense": ["nonsense", "key=value"],
    "--batch=3": ["batch=3", "known key"],
    "seed=${sed}": ["seed=${sed}"],
    "seed=${seed}": ["seed=${seed}", "interpolation"],
    "data.prompt=${": ["data.prompt=${", "interpolation"],
    "out=${oc.env:FCS_NOT_SET}": ["out=${oc.env:FCS_NOT_SET}", "interpolation"],
    "data.prompt=\udce9": ["data.prompt=", "UTF-8"],  # as Python reads a byte that is none
    "out=": ["out=", "a folder"],
    f"out={'a' * 300}": ["out=aaa", "a name that the file system takes"],
    "task.init_args=5": ["task.init_args=5", "the arguments of the class"],
    "task=builtins.int": ["task=builtins.int", "a task"],
    "task=fcs.tasks.Task": ["task=fcs.tasks.Task", "all of its methods"],
    "sampler.difference=1e400": ["sampler.direction.difference=inf", "a finite number"],
    "sampler.step_sizes=[.nan]": ["sampler.step_sizes=nan", "a finite number"],
    "guidance=inf": ["guidance=inf", "a finite number"],
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(
    override: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "--config", "digits_inpaint", override)
    for part in MISTAKES[override]:
        assert part in line
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("scale", [1, 3])
def test_a_scale_that_the_model_does_not_have(scale: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--config", "digits_superres", f"task.scale={scale}")
    assert f"task.scale={scale}" in line
    assert list(here.iterdir()) == []


def test_a_sampler_that_the_task_has_no_constraint_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--config", "digits_superres", "sampler=replacement")
    assert "sampler=replacement" in line
    assert list(here.iterdir()) == []


def test_more_processes_than_cores(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "trainer.devices=9999" in refused(capsys, "--config", "digits_inpaint", "trainer.devices=9999")
    assert list(here.iterdir()) == []


def test_unknown_config_names_the_nearest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--config", "digits_inpant")
    assert "--config=digits_inpant" in line
    assert "did you mean digits_inpaint?" in line


def test_no_arguments(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config" in refused(capsys)


def test_missing_required_key(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.shards" in refused(capsys, "--config", "sd15_inpaint_paper")


def test_broken_yaml(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text("data: [")
    assert "--config=mine.yaml" in refused(capsys, "--config", "mine.yaml")


def test_out_is_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "taken").write_text("mine")
    assert "out=taken" in refused(capsys, "--config", "digits_inpaint", "out=taken")
    assert (here / "taken").read_text() == "mine"


def test_two_shards_of_one_stem(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tar", "a.tar.gz"):
        (here / name).write_bytes(b"")
    assert "data.shards=a" in refused(capsys, "--config", "digits_inpaint", "data.shards=[a.tar,a.tar.gz]")


def test_a_folder_that_is_no_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folder").mkdir()
    line = refused(capsys, "--config", "digits_inpaint", "model.name=./folder")
    assert "model_index.json" in line


def test_a_model_index_of_another_shape(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "model_index.json").write_text('{"unet": 5}')
    assert "model.name=./folder" in refused(capsys, "--config", "digits_inpaint", "model.name=./folder")


def test_another_configuration_on_a_pinned_out(
    digits_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(digits_run.parent)
    before = sorted(path for path in digits_run.rglob("*"))
    line = refused(capsys, "--config", "digits_inpaint", f"out={digits_run}", *DIGITS_RUN, "seed=1")
    assert "seed=1" in line
    assert "0" in line
    assert sorted(path for path in digits_run.rglob("*")) == before


def test_an_input_that_changed(here: Path, capsys: pytest.CaptureFixture[str], digits_shard: Path) -> None:
    shard = here / "in.tar"
    shard.write_bytes(digits_shard.read_bytes())
    arguments = ["--config", "digits_inpaint", "data.shards=in.tar", "out=o", "steps=1", "data.limit=4"]
    assert main(arguments) == 0
    capsys.readouterr()
    shard.write_bytes(digits_shard.read_bytes() + b"\0" * 512)
    assert "in.tar" in refused(capsys, *arguments)


def test_print_config_reads_back_to_itself(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "digits_inpaint", "--print-config", "seed=7", "model.revision=1e10"]) == 0
    first = capsys.readouterr().out
    (here / "again.yaml").write_text(first)
    assert main(["--config", "again.yaml", "--print-config"]) == 0
    assert capsys.readouterr().out == first
    assert "seed: 7" in first
    assert "1e10" in first


def test_help_lists_every_contract_key(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    keys = """data.shards data.batch_size data.limit data.max_failed data.retry_failed data.prompt data.resize
    data.workers out seed steps levels guidance negative_prompt format copy_inputs model.name model.revision task
    sampler task.paste sampler.direction sampler.step_sizes sampler.difference trainer.devices trainer.precision
    trainer.compile trainer.deterministic trainer.grace previews.max"""
    for key in keys.split():
        assert f" {key} " in text, key


def test_help_is_of_this_schema() -> None:
    write = (
        "python -c 'from fcs.core.package_files import KEYS; from fcs.engine.config.key_help import written; "
        "KEYS.write_text(written())'"
    )
    assert KEYS.read_text() == key_help.written(), write
    keys = KEYS.read_text().partition("\n\n")[2]
    assert all(line.strip() for line in keys.splitlines()), "a key without a word on what it does"


def test_help_imports_no_torch() -> None:
    code = "import sys; from fcs.tools.cli.predict import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_dry_run_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "digits_inpaint", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "48" in text
    assert str(60 * 48) in text
    assert list(here.iterdir()) == []


def test_prepare_pins_and_indexes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "digits_inpaint", "--prepare", "out=o"]) == 0
    assert "48 records" in capsys.readouterr().out
    assert json.loads((here / "o" / "run.json").read_text())["settings"]["seed"] == 0
    assert not (here / "o" / "shards").exists()


def test_the_command_itself(here: Path) -> None:
    command = [sys.executable, "-m", "fcs.tools.cli.predict", "--config", "digits_inpaint", "fomat=png"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=GUARD, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "did you mean format?" in ended.stderr


FILES = {
    "data.batch_size: 4": ["data.batch_size=4", "keys below keys"],
    "seed: 1\nseed: 2": ["--config=mine.yaml", "seed", "line 2"],
    "seed: ???": ["seed=???", "a value"],
    'out: "a\\0b"': ["out=", "without zero bytes"],
    "task: {class_path: inpaint, init_args: [1]}": ["task.init_args=[1]", "the arguments of the class"],
}


@pytest.mark.parametrize("text", FILES)
def test_a_mistake_in_a_file(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text(text)
    line = refused(capsys, "--config", "digits_inpaint", "--config", "mine.yaml")
    for part in FILES[text]:
        assert part in line
    assert [path.name for path in here.iterdir()] == ["mine.yaml"]


def test_a_config_whose_name_is_too_long(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config=aaa" in refused(capsys, "--config", "a" * 300)


def test_whole_numbers_are_text_where_text_is_wanted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text("trainer: {precision: 32}\nnegative_prompt: 5\n")
    arguments = ["--config", "digits_inpaint", "--config", "mine.yaml", "--print-config", "data.prompt=${seed}"]
    assert main([*arguments, "seed=7", "trainer.devices=2"]) == 0
    text = capsys.readouterr().out
    for line in ("precision: '32'", "negative_prompt: '5'", "prompt: '7'", "devices: 2"):
        assert line in text


MINE = """
from fcs.tasks import Inpaint

class Task(Inpaint):
    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()

class Unresolved(Inpaint):
    def __init__(self, strength: "Strength" = 1.0) -> None:
        super().__init__()
"""


def test_a_class_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mine_in_usage.py").write_text(MINE)
    (here / "broken_in_usage.py").write_text("raise RuntimeError('boom')")
    monkeypatch.syspath_prepend(here)
    mistakes = {
        ("task=mine_in_usage.Task", "task.strength=abc"): ["task.strength=abc", "a number"],
        ("task=mine_in_usage.Unresolved",): ["task=Unresolved", "Strength"],
        ("task=broken_in_usage.Task",): ["task=broken_in_usage.Task", "boom"],
    }
    for arguments, parts in mistakes.items():
        line = refused(capsys, "--config", "digits_inpaint", *arguments)
        assert all(part in line for part in parts), line


def test_out_is_a_link_to_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "dangling").symlink_to(here / "nowhere" / "x")
    assert "out=dangling" in refused(capsys, "--config", "digits_inpaint", "out=dangling")


def test_out_below_home(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    assert main(["--config", "digits_inpaint", "--prepare", "out=~/o"]) == 0
    assert (here / "home" / "o" / "run.json").exists()
    assert [path.name for path in here.iterdir()] == ["home"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"name": "another program"}', '{"settings": {}, "shards": [{}]}'])
def test_a_run_json_that_is_not_ours(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "o").mkdir()
    (here / "o" / "run.json").write_text(text)
    line = refused(capsys, "--config", "digits_inpaint", "out=o")
    assert "out=o: expected a folder of ours" in line
    assert (here / "o" / "run.json").read_text() == text


def test_a_dead_device_is_no_defect_of_ours(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(Pipeline, "__call__", dead)
    assert main(["--config", "digits_inpaint", "data.limit=2"]) == 74
    assert "the device failed: CUDA error" in capsys.readouterr().err

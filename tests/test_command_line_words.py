"""Words of a command line as people write them, and what is said before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.waiting import GUARD

import fcs
from fcs.core.errors import UsageError
from fcs.core.foreign_names import KEYS, our_key
from fcs.engine.config.first_look import first_look, listed_keys
from fcs.tools.cli.predict import main
from fcs.tools.cli.words import joined, said_later


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--trainer.devices", "2", "seed=1"], ["--trainer.devices=2", "seed=1"]),
        (["--data.shards", "x=1/*.tar"], ["--data.shards=x=1/*.tar"]),  # x is no key
        (["--data.prompt", "red apple", "--seed", "-1"], ["--data.prompt=red apple", "--seed=-1"]),
        (["--copy_inputs", "task.paste=false"], ["--copy_inputs", "task.paste=false"]),
        (["--copy_inputs", "--seed=1"], ["--copy_inputs", "--seed=1"]),
        (["steps=2", "3"], ["steps=2", "3"]),
        (["--out"], ["--out"]),
    ],
)
def test_a_key_and_its_value_may_be_two_words(words: list[str], expected: list[str]) -> None:
    assert joined(words, listed_keys()) == expected


REFUSED = {
    ("-c", "sd15_inpaint_paper"): "data.shards: expected text or a list, each text, found nothing; it has no default",
    ("-c", "digits_inpaint", "num_inference_steps=30"): "num_inference_steps=30: expected a known key; here it is "
    "called steps",
    ("-c", "digits_inpaint", "--guidance-scale", "3"): "guidance-scale=3: expected a known key; here it is called "
    "guidance",
    ("-c", "digits_inpaint", "data.num_workers=3"): "here it is called data.workers",
    ("-c", "digits_inpaint", "trainer.devics=2"): "did you mean trainer.devices?",
    ("-c", "digits_inpant"): "did you mean digits_inpaint?",
    ("digits_inpaint",): "digits_inpaint: expected key=value; did you mean --config digits_inpaint?",
    ("-c", "digits_inpaint", "--copy_inputs", "seed=1"): "--copy_inputs: expected key=value",
    ("seed=1",): "data.shards: expected",
}


def test_missing_and_unknown_keys_are_said_before_torch_is_imported() -> None:
    code = (
        "import sys; from fcs.tools.cli.predict import main\n"
        f"for words in {list(map(list, REFUSED))}: assert main(words) == 2, words\n"
        "sys.exit(bool({'torch', 'lightning', 'jsonargparse'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=GUARD, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == len(REFUSED)
    for line, expected in zip(lines, REFUSED.values(), strict=True):
        assert expected in line


def test_a_configuration_is_checked_before_lightning_is_imported() -> None:
    code = (
        "import sys; from fcs.tools.cli.predict import main\n"
        "assert main(['-c', 'digits_inpaint', 'steps=abc']) == 2\n"
        "assert main(['-c', 'digits_inpaint', 'data.shards=nowhere/*.tar']) == 2\n"
        "sys.exit(bool({'lightning', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=GUARD, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_first_look_lets_arguments_of_classes_be() -> None:
    given = first_look(["digits_inpaint"], ["task=mine.Task", "task.strength=3", "sampler.difference=1", "out=x"])
    assert {"task", "sampler", "out", "data.shards"} <= given
    with pytest.raises(UsageError, match=r"did you mean data\?"):
        first_look(["digits_inpaint"], ["dta=5"])


def test_every_foreign_name_means_a_key_that_exists() -> None:
    assert {name for name in KEYS if our_key(name) not in listed_keys()} == set()
    assert not set(KEYS) & set(listed_keys())
    assert our_key("trainer.num_inference_steps") == "steps"


@pytest.mark.parametrize("words", [["--version"], ["-c", "digits_inpaint", "--version"]])
def test_the_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"fcs-predict {fcs.__version__}\n"


def test_underscores_in_options_and_values_after_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["-c", "digits_inpaint", "--print_config", "--trainer.devices", "2", "--data.prompt", "a b"]) == 0
    text = capsys.readouterr().out
    assert "devices: 2" in text
    assert "prompt: a b" in text


def test_a_second_config_says_where_results_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.yaml").write_text("steps: 1\n")
    (tmp_path / "named.yaml").write_text("out: elsewhere\n")
    said = "out=runs/quick, by the name of the last --config"
    for more, expected in {(): True, ("out=mine",): False, ("-c", "named.yaml"): False}.items():
        assert main(["-c", "digits_inpaint", "-c", "quick.yaml", *more, "--dry-run"]) == 0
        assert (said in capsys.readouterr().out) is expected


def test_what_takes_long_is_announced_and_what_ends_soon_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with said_later("soon", 0.0):
        time.sleep(0.2)
    with said_later("late", 600.0), said_later("elsewhere", 0.0, here=False):
        time.sleep(0.2)
    assert capsys.readouterr().out == "soon\n"

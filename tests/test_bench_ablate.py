"""Variants of a configuration: those of --vary and of files, and a short ablation end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fcs.bench import ablate
from fcs.bench.ablate import SHIPPED, from_file, varied
from fcs.bench.cli import main
from fcs.bench.trial import Trial
from fcs.core.errors import UsageError


def test_one_key_at_a_time_or_all_combinations() -> None:
    given = ["steps=5,10", "sampler.step_sizes=[0.5],[0.5,0.1]", "task.paste=false"]
    found = varied(given, full=False)
    assert list(found.values()) == [
        [],
        ["steps=5"],
        ["steps=10"],
        ["sampler.step_sizes=[0.5]"],
        ["sampler.step_sizes=[0.5, 0.1]"],
        ["task.paste=false"],
    ]
    assert len(varied(given, full=True)) == 1 + 2 * 2
    assert varied([], full=True) == {"as it is": []}
    for wrong in ("steps", "steps=", "=5", "steps=["):
        with pytest.raises(UsageError, match="--vary"):
            varied([wrong], full=False)


def test_variants_are_compared_with_the_first(tmp_path: Path) -> None:
    options = ["--config", "digits_half", "--vary", "sampler.step_sizes=[]", "--limit", "3", "--out", str(tmp_path)]
    assert main(["ablate", *options, "steps=2", "data.batch_size=3"]) == 0
    rows = json.loads((tmp_path / "ablate.json").read_text())["rows"]
    assert [(one["variant"], one["nfe"]) for one in rows] == [("as it is", 6), ("sampler.step_sizes=[]", 2)]
    assert rows[0]["difference_to_first"] is None
    assert rows[1]["difference_to_first"]["low"] <= rows[1]["difference_to_first"]["high"]
    lines = (tmp_path / "ablate.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({line.count("|") for line in lines}) == 1
    assert (tmp_path / "ablate.png").exists()


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("steps=1,x", "steps=x: expected a whole number above 0"),
        ("seed=1,2", "seed=1: expected the option --seeds for that"),
        ("data.captions=true,false", "data.captions=true: expected the option --captions for that"),
        ("out=a,b", "out=a: expected the option --out for that"),
    ],
)
def test_what_cannot_vary_is_told_before_anything_runs(
    vary: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", "digits_half", "--vary", vary, "--limit", "2", "--out", str(tmp_path / "out")]
    assert main(["ablate", *options]) == 2
    assert capsys.readouterr().err == f"fcs-bench: {said}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "variants: [", "config: a", "config: a\nvariants: [b]", "- a"])
def test_a_file_of_variants_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "variants.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="--variants"):
        from_file(str(file))


def test_shipped_variants_have_names() -> None:
    with pytest.raises(UsageError, match="did you mean guidance"):
        from_file("guidanse")
    assert from_file("guidance").captions


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_variants_are_configurations(file: Path) -> None:
    found = ablate.from_file(file.stem)
    for overrides in found.named.values():
        assert Trial(found.config, tuple(overrides), (0,), Path(), found.captions, found.truth).loaded

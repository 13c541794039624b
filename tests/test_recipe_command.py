"""How the recipes in jobs/ take their command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import pytest
from command import command, configured

from fcs.bench.trial import RunFailed
from fcs.tools.cli.ends import Parser


def ended(monkeypatch: pytest.MonkeyPatch, words: list[str], work: Callable[[Parser], None]) -> object:
    monkeypatch.setattr(sys, "argv", ["recipe.py", *words])
    parser = Parser("python jobs/recipe.py", "What it does.")
    parser.add_argument("--out", default="here")
    with pytest.raises(SystemExit) as end:
        work(parser)
    return end.value.code


def test_a_recipe_without_a_config_refuses_overrides(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[argparse.Namespace] = []
    assert ended(monkeypatch, ["--out", "there"], lambda parser: command(parser, seen.append)) == 0
    assert [args.out for args in seen] == ["there"]
    assert ended(monkeypatch, ["steps=4"], lambda parser: command(parser, seen.append)) == 2
    assert len(seen) == 1
    assert "steps=4: expected nothing more" in capsys.readouterr().err


def test_a_recipe_that_runs_configs_gets_them_and_ends_with_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def run(args: argparse.Namespace, overrides: list[str]) -> None:
        seen.extend(overrides)
        raise RunFailed(3)

    assert ended(monkeypatch, ["steps=4", "seed=1"], lambda parser: configured(parser, run)) == 3
    assert seen == ["steps=4", "seed=1"]

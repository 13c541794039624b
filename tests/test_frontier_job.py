"""The recipe that draws quality against network calls from comparisons at several budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from frontier import parser, run
from helpers.comparisons import compared

from fcs.core.errors import UsageError


def ran(out: Path, *runs: str, **given: Path) -> None:
    words = [*runs, "--against", "a", "--ours", "a", "--out", str(out / "f.json"), "--plot", str(out / "f.png")]
    run(parser().parse_args([*words, *(word for name, path in given.items() for word in (f"--{name}", str(path)))]))


def test_budgets_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = {
        name: compared(tmp_path / f"{name}-{budget}", name, values, budget=budget)
        for name, budget, values in (("a", 20, [1.0, 1.0, 1.0]), ("mpgd", 20, [0.5, 0.5, 0.4]))
    }
    more = compared(tmp_path / "a-40", "a", [0.9, 0.9, 0.9], budget=40)
    paper = compared(tmp_path / "paper", "newton-k5", [0.2, 0.2, 0.2], budget=None)
    page = tmp_path / "page.md"
    page.write_text("<!-- table: consistency -->\n<!-- end -->\n")
    ran(tmp_path, *reversed(at.values()), more, paper, page=page)  # MPGD, which has no 40, first
    said = capsys.readouterr().out
    _, consistency = page.read_text().split("<!-- table: consistency -->\n")
    assert "| method | 20 calls | 40 calls |" in consistency
    assert "| a | 1 | 0.9 |" in consistency
    assert "| MPGD | *0.467* |  |" in consistency
    assert "| Newton, five moves (the paper) as published, 40 calls |  | *0.2* |" in consistency
    assert consistency.index("| a |") < consistency.index("| MPGD |")
    assert consistency.removesuffix("\n<!-- end -->\n").strip() in said
    kept = json.loads((tmp_path / "f.json").read_text())["methods"]
    assert kept["mpgd"]["20"]["difference"]["consistency"]["mean"] == pytest.approx(-1.6 / 3)
    assert kept["newton-k5"]["published"]["difference"]["consistency"]["mean"] == pytest.approx(-0.7)
    assert (tmp_path / "f.png").stat().st_size > 0


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    one = compared(tmp_path / "one", "a", [1.0] * 3, budget=20)
    other = compared(tmp_path / "other", "b", [1.0] * 3, budget=40)
    with pytest.raises(UsageError, match="--against=a: expected a method with rows of 40 calls"):
        ran(tmp_path, one, other)
    page = tmp_path / "page.md"
    page.write_text("<!-- table: seconds -->\n<!-- end -->\n")
    with pytest.raises(UsageError, match="--page=seconds: expected a table: consistency, total variation, energy"):
        ran(tmp_path, one, page=page)
    with pytest.raises(UsageError, match=r"DIR=.*nothing: expected a folder with compare\.json"):
        ran(tmp_path, str(tmp_path / "nothing"))

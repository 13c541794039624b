"""The recipe that holds comparisons, made one by one, against one row."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from helpers.comparisons import compared
from rivals import run

from fcs.core.errors import UsageError

SAME = [1.0] * 4


def asked(out: Path, against: str, *sets: list[str]) -> argparse.Namespace:
    return argparse.Namespace(sets=list(sets), against=against, out=out / "rivals.json")


def test_all_rows_are_held_against_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = compared(tmp_path / "ours", "ours", SAME, energy=[2.0, 3.0, 4.0, 5.0])
    worse = compared(tmp_path / "worse", "worse", SAME, energy=[3.0, 4.0, 5.0, 6.0])
    better = compared(tmp_path / "better", "better", SAME, energy=[1.0, 1.0, 1.0, 1.0])
    level = compared(tmp_path / "level", "level", SAME, energy=[3.0, 2.0, 5.0, 4.0])
    run(asked(tmp_path, "ours-40", ["one", ours, worse], ["two", level, ours, better]))
    written = json.loads((tmp_path / "rivals.json").read_text())["sets"]
    assert written["one"]["worse-40"]["difference"]["energy_own"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert written["two"]["ours-40"]["difference"] == {}
    assert list(written["two"]) == ["level-40", "ours-40", "better-40"]
    lines = capsys.readouterr().out.splitlines()
    assert "| worse-40 | 20 + 10b | 1 | *1 (1 to 1)* | 1 |  |" in lines
    assert "| ours-40 | 20 + 10b | 1 |  | 1 |  |" in lines
    assert any(line.startswith("| better-40 | 20 + 10b | 1 | **-2.5 (") for line in lines)
    assert any(line.startswith("| level-40 | 20 + 10b | 1 | 0 (-") for line in lines)


def test_a_row_that_a_set_lacks_is_named(tmp_path: Path) -> None:
    one, other = compared(tmp_path / "one", "a", SAME), compared(tmp_path / "other", "b", SAME)
    with pytest.raises(UsageError, match=r"--against=a-40: expected a row of second: b-40"):
        run(asked(tmp_path, "a-40", ["first", one], ["second", other]))

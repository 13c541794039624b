"""The recipe that holds two comparisons on the same records against each other, row by row."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from helpers.comparisons import compared
from posterior_change import run

from fcs.core.errors import UsageError


def asked(out: Path, before: list[str], after: list[str]) -> argparse.Namespace:
    return argparse.Namespace(before=before, after=after, out=out / "change.json")


def test_rows_of_the_same_name_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [compared(tmp_path / "before" / name, name, [1.0, 0.5, 0.5]) for name in ("a", "b")]
    after = [compared(tmp_path / "after" / "a", "a", [1.0, 1.0, 1.0], command="compare task.hole=mirror")]
    run(asked(tmp_path, before, after))
    (row,) = json.loads((tmp_path / "change.json").read_text())["rows"].items()
    assert row[0] == "a-40"
    assert row[1]["difference"]["consistency"]["mean"] == pytest.approx(1 / 3)
    assert row[1]["difference"]["tv"]["mean"] == 0
    assert "| a-40 | 0.7 | 1.0 |" in capsys.readouterr().out


def test_what_cannot_be_compared_is_said_in_one_line(tmp_path: Path) -> None:
    one, other = compared(tmp_path / "one", "a", [1.0] * 3), compared(tmp_path / "other", "b", [1.0] * 3)
    said = r"expected a row of --before with the same setting: a-40"
    with pytest.raises(UsageError, match=rf"--after=.*other: {said}"):
        run(asked(tmp_path, [one], [other]))
    tuned = compared(tmp_path / "tuned", "a", [1.0] * 3, setting={"eta": 0.5})
    with pytest.raises(UsageError, match=rf"--after=.*tuned: {said}"):
        run(asked(tmp_path, [one], [tuned]))

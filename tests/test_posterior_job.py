"""The recipe that brings comparisons on faces together: rows of several folders, held against one of them."""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path

import pytest
from helpers.comparisons import compared
from posterior import parser, run

from fcs.core.errors import UsageError


def asked(out: Path, *sets: list[str], against: str = "a-40", page: Path | None = None) -> argparse.Namespace:
    given = [word for one in sets for word in ("--set", *one)]
    given += ["--against", against, "--out", str(out / "p.json"), "--plot", str(out / "p.png")]
    return parser().parse_args(given if page is None else [*given, "--page", str(page)])


def test_rows_of_several_folders_are_held_against_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = compared(tmp_path / "one", "a", [1.0, 1.0, 0.5])
    two = compared(tmp_path / "two", "a", [0.5, 0.5, 0.0], captions=True)
    run(asked(tmp_path, ["eps, half", one, two], ["eps, band", one]))
    kept = json.loads((tmp_path / "p.json").read_text())["sets"]["eps, half"]
    assert list(kept) == ["a-40", "a-40, captions"]
    assert kept["a-40"]["difference"] == {}
    assert kept["a-40, captions"]["difference"]["consistency"] == {"mean": -0.5, "low": -0.5, "high": -0.5}
    assert kept["a-40, captions"]["difference"]["tv"]["mean"] == 0
    assert (tmp_path / "p.png").stat().st_size > 0
    said = capsys.readouterr().out
    assert "| a perfect sampler |  |  | 0.996 | 0.05 |  |" in said
    apart = "-0.500 (-0.500 to -0.500) | 0.200; +0.000 (0.000 to 0.000)"
    assert "| a | published | 20 + 10b | 0.833 | 0.200 | 0.8 |" in said
    assert f"| a, captions | published | 20 + 10b | 0.333; {apart} | 0.3 |" in said


def test_an_archive_says_what_its_folders_say(tmp_path: Path) -> None:
    folders = [compared(tmp_path / "half-40", "a", [1.0, 0.5, 0.0]), compared(tmp_path / "half-20", "b", [0.5] * 3)]
    archive = tmp_path / "half.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for folder in folders:
            tar.add(folder, Path(folder).name)
    said = []
    for given in (folders, [str(archive)]):
        run(asked(tmp_path, ["eps, half", *given]))
        said.append(json.loads((tmp_path / "p.json").read_text())["sets"])
    assert said[0] == said[1]
    assert set(said[0]["eps, half"]) == {"a-40", "b-40"}


def test_masks_of_a_model_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = compared(tmp_path / "half" / "a", "a", [1.0] * 3), compared(tmp_path / "half" / "b", "b", [0.5, 0.5, 0.4])
    second = compared(tmp_path / "band" / "a", "a", [0.5] * 3), compared(tmp_path / "band" / "b", "b", [0.9, 0.8, 0.9])
    run(asked(tmp_path, ["eps, half", *first], ["eps, band", *second], ["flow, half", first[0]]))
    said = capsys.readouterr().out
    eps, flow = said[said.index("\neps\n") :].split("\nflow\n")
    assert "half: consistency" in eps
    assert "band: consistency" in eps
    assert "| b | 20 + 10b | *0.467* | 0.467 | **0.867** | 0.867 |" in eps
    assert "total variation" not in eps  # equal in all rows
    assert "| a | 20 + 10b | 1 | 0.2 | 1 |" in flow


def test_a_page_gets_the_tables_that_it_names(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n\n<!-- table: eps, half -->\nold\n<!-- end -->\n\n<!-- table: eps -->\n<!-- end -->\n\nAfter.\n"
    )
    one = compared(tmp_path / "half", "ding", [1.0] * 3, {"noise": 0.36}, "compare x/*.tar task.hole=grey data.a=1")
    given = asked(tmp_path, ["eps, half", one], against="ding-40, task.hole=grey", page=page)
    run(given)
    text = page.read_text()
    assert text.startswith("Before.\n\n<!-- table: eps, half -->\n\n| method | setting |")
    assert text.endswith("\n\n<!-- end -->\n\nAfter.\n")
    assert "| DING, grey hole | noise 0.36 | 20 + 10b | 1.000 | 0.200 | 1.0 |" in text
    assert "| DING, grey hole | 20 + 10b | 1 | 0.2 | 1 |" in text
    run(given)
    assert page.read_text() == text
    page.write_text("<!-- table: flow -->\n<!-- end -->\n")
    with pytest.raises(UsageError, match="--page=flow: expected a set or a model: eps, half"):
        run(given)


def test_a_row_on_fewer_records_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    all_of_them = compared(tmp_path / "a", "a", [1.0, 1.0, 0.5])
    fewer = compared(tmp_path / "b", "b", [0.5, 0.5])
    run(asked(tmp_path, ["eps, half", all_of_them, fewer]))
    said = capsys.readouterr().out
    assert "| a | published | 20 + 10b | 0.833 |" in said
    assert "| b | published, 2 records | 20 + 10b | 0.500; -0.500 (-0.500 to -0.500) |" in said


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    one = compared(tmp_path / "one", "a", [1.0, 1.0, 1.0])
    with pytest.raises(UsageError, match=r"--set=.*nothing: expected a folder with compare\.json"):
        run(asked(tmp_path, ["half", str(tmp_path / "nothing")]))
    with pytest.raises(UsageError, match="--against=b-40: expected a row of half: a-40"):
        run(asked(tmp_path, ["half", one], against="b-40"))

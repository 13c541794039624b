"""Reports: the means of the committed shards, one run beside another, where they were asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.parts import tree

from fcs.shards.ledger.summary import summarize
from fcs.shards.store.local import LocalStore
from fcs.tools.cli.report import main
from fcs.tools.report import write_report as report_module
from fcs.tools.report.run_names import run_names
from fcs.tools.report.text_tables import summary_lines
from fcs.tools.report.write_report import write_report


@pytest.fixture
def runs(digits_run: Path, tmp_path: Path) -> list[Path]:
    """A finished run, and a copy whose one shard is not committed."""
    done, part = tmp_path / "done", tmp_path / "part"
    for out in (done, part):
        shutil.copytree(digits_run, out)
    (part / "shards" / "mixed.json").unlink()
    return [done, part]


def test_one_run(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    written = (runs[0] / "summary.json").read_bytes()
    (runs[0] / "summary.json").unlink()
    assert main([str(runs[0])]) == 0
    assert (runs[0] / "summary.json").read_bytes() == written
    said = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert said["complete"] == ["yes"]
    assert (said["ok"], said["failed"]) == (["24"], ["0"])
    mean = json.loads(written)["metrics"]["psnr"]["mean"]
    assert said["psnr"] == [f"{mean:.4f}", "(24)"]


def test_runs_side_by_side(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [{path: path.stat().st_mtime_ns for path in out.rglob("*")} for out in runs]
    assert main([*map(str, runs), "--to", str(tmp_path / "both")]) == 0
    assert [{path: path.stat().st_mtime_ns for path in out.rglob("*")} for out in runs] == before
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"summary.json", "report.html"}
    summaries = json.loads((tmp_path / "both" / "summary.json").read_text())["runs"]
    assert summaries == {"done": summarize(LocalStore(runs[0])), "part": summarize(LocalStore(runs[1]))}
    head, complete, ok, *_, last, page = capsys.readouterr().out.splitlines()
    assert head.split() == ["done", "part"]
    assert complete.split() == ["complete", "yes", "no"]
    assert ok.split() == ["ok", "24", "0"]
    assert last.split()[0] == "ssim_kept"
    assert last.split()[-1] == "-"
    assert page.split() == ["page", str(tmp_path / "both" / "report.html")]


def test_an_unfinished_run_is_written_as_such(runs: list[Path]) -> None:
    assert not write_report(list(map(LocalStore, runs)))["part"]["complete"]
    assert not json.loads((runs[1] / "summary.json").read_text())["complete"]


def test_a_run_that_ends_meanwhile(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def write(out: LocalStore, further: dict[str, object]) -> dict[str, object]:
        summary = write_summary(out, further)
        shutil.copy(runs[0] / "shards" / "mixed.json", out.root / "shards" / "mixed.json")
        return summary

    write_summary = report_module.write_summary
    monkeypatch.setattr(report_module, "write_summary", write)
    assert write_report([LocalStore(runs[1])])["part"]["complete"]
    assert json.loads((runs[1] / "summary.json").read_text())["complete"]


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_names([LocalStore(Path("a/x")), LocalStore(Path("b/y/")), LocalStore(Path("."))]) == [
        "x",
        "y",
        tmp_path.name,
    ]
    assert run_names([LocalStore(Path("a/x")), LocalStore(Path("b/x"))]) == ["a", "b"]
    assert run_names([LocalStore(Path("t/ding-20/seed-0")), LocalStore(Path("t/dps/80/seed-0"))]) == [
        "ding-20",
        "dps/80",
    ]
    assert run_names([LocalStore(Path("x")), LocalStore(Path("x/x"))]) == ["x", "x/x"]


def test_metrics_that_one_run_lacks() -> None:
    one = {"complete": True, "records": {"ok": 2, "failed": 0}, "metrics": {"psnr": {"mean": 1.5, "n": 2}}}
    other = {**one, "metrics": {"lpips": {"mean": 0.25, "n": 1}, "psnr": {"mean": None, "n": 0}}}
    cells = {line[:16].strip(): line[16:].split() for line in summary_lines({"one": one, "other": other})}
    assert cells["psnr"] == ["1.5000", "(2)", "-"]
    assert cells["lpips"] == ["-", "0.2500", "(1)"]


def test_mistakes(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "run.json").write_text('{"shards": [{}], "settings": {}}')
    (runs[0] / "summary.json").unlink()
    before = tree(tmp_path)
    for arguments, expected in {
        (): "OUT",
        ("others",): "others/run.json is damaged, or another program's",
        ("done", "part", "--to", "part"): "--to=part: expected another folder than a run's",
        ("done", "--reference", "nowhere"): "nowhere: expected the folder of a run",
        ("done", "--reference", "part"): "--reference=part: expected runs with features to compare",
        ("done", "nowhere"): "nowhere",
        ("done", "done"): "OUT=done",
        ("done", "--ta", "x"): "did you mean --to?",
        ("done", "--to", "file"): "--to=file",
        ("done", "--to", "file/below"): "--to=file/below",
        ("done", "--to", "/proc/x"): "a place where a folder can be made",
        ("done", "--records", "many"): "--records=many",
        ("done", "--records", "-1"): "--records=-1",
        ("done", "--records", "9999"): "a whole number from 0 to 2000",
    }.items():
        assert main(list(arguments)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("fcs-report: ")
        assert said.err.count("\n") == 1
        assert expected in said.err
    assert tree(tmp_path) == before


def test_a_committed_file_that_is_gone(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    (runs[0] / "metrics" / "mixed.parquet").unlink()
    assert main([str(runs[0])]) == 74
    assert "mixed.parquet" in capsys.readouterr().err

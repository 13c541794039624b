"""What a run says while it runs: rate, time left, running means, on a stream and to a Lightning logger."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger

from fcs.engine.process_info import ProcessInfo
from fcs.engine.progress import Progress, log_progress
from fcs.tools.cli.predict import main

RUN = ["--config", "digits_inpaint", "steps=1", "data.limit=6", "data.batch_size=2", "previews.max=0"]


def test_running_means_are_of_what_has_a_value() -> None:
    progress = Progress(10, 2, io.StringIO())
    progress.update(3, 1, [{"psnr": 10.0, "psnr_kept": None, "residual": 1.0}, {"psnr": 20.0, "psnr_kept": 4.0}])
    progress.update(1, 0, [{"psnr": 30.0}])
    assert progress.means() == {"psnr": 20.0, "residual": 1.0, "psnr_kept": 4.0}
    assert progress.rate > 0
    assert progress.left == pytest.approx(4 / progress.rate, rel=0.5)
    line = progress.line()
    assert line.startswith("records 6/10  failed 1  ")
    assert line.endswith(" s left  psnr 20  residual 1")  # parts of pictures would fill it
    assert Progress(None, 0, io.StringIO()).left is None


def test_failures_of_an_earlier_run_count() -> None:
    progress = Progress(128, 128, io.StringIO(), failed=128)
    assert progress.line().startswith("records 128/128  failed 128")


def rows(folder: Path) -> list[dict[str, str]]:
    with next(folder.rglob("metrics.csv")).open() as file:
        return list(csv.DictReader(file))


def test_a_logger_gets_the_numbers(tmp_path: Path) -> None:
    progress = Progress(4, 0, io.StringIO())
    logger = CSVLogger(str(tmp_path))
    progress.update(2, 0, [{"psnr": 10.0}, {"psnr": 20.0}])
    log_progress([logger], progress)
    progress.update(2, 2)
    log_progress([logger], progress)
    logger.finalize("success")
    first, second = rows(tmp_path)
    assert [float(first[name]) for name in ("step", "records", "failed", "psnr")] == [2, 2, 0, 15]
    assert [float(second[name]) for name in ("step", "records", "failed", "seconds_left")] == [4, 4, 2, 0]


def test_a_run_with_a_logger(tmp_path: Path) -> None:
    logger = ["trainer.logger=csvlogger", f"trainer.logger.save_dir={tmp_path}/logs"]
    assert main([*RUN, f"out={tmp_path}/run", *logger]) == 0
    last = rows(tmp_path / "logs")[-1]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert float(last["records"]) == 6
    for name, metric in summary["metrics"].items():
        assert (last.get(name) or None) is None or float(last[name]) == pytest.approx(metric["mean"])
    assert float(last["psnr"]) > 0


def test_only_the_first_process_of_a_launch_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessInfo, "here", lambda: ProcessInfo(1, 2, 1, 2, "torchrun"))
    logger = ["trainer.logger=csvlogger", f"trainer.logger.save_dir={tmp_path}/logs"]
    assert main([*RUN, f"out={tmp_path}/run", *logger]) == 0
    assert not (tmp_path / "logs").exists()


def test_a_file_may_name_a_logger_only_with_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "logged.yaml"
    file.write_text(f"trainer: {{logger: {{class_path: csvlogger, save_dir: {tmp_path}/logs}}}}\n")
    arguments = [*RUN[:2], "--config", str(file), f"out={tmp_path}/run", "--print-config"]
    assert main(arguments) == 2
    assert "--allow-imports lightning" in capsys.readouterr().err
    assert main([*arguments, "--allow-imports", "lightning"]) == 0
    assert "lightning.pytorch.loggers.CSVLogger" in capsys.readouterr().out
    assert main([*arguments, "trainer.logger=null"]) == 0
    assert "logger: null" in capsys.readouterr().out

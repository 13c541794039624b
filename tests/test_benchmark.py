"""jobs/benchmark.py on a tiny model: what is counted and compared, and the references' own laws."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import benchmark
import pyarrow.parquet as pq
import pytest
import torch
from command import command
from helpers import forked
from speed import bare, large, long, rates, rivals, steps, threads
from speed.pipeline import FEW, WALKS, Setting, picture_shape, steady
from speed.timing import Spent, in_turn, median, ratio

from fcs.core.errors import UsageError
from fcs.samplers import InexactNewton
from fcs.tools.cli.predict import main


@pytest.fixture
def setting(tiny_sd: Path, tmp_path: Path) -> Setting:
    return Setting(str(tiny_sd), 2, "32", False, tmp_path)


def test_rounds_are_interleaved_and_compared_within() -> None:
    order: list[str] = []
    times = iter([1.0, 2.0, 10.0, 40.0, 3.0, 6.0])

    def cell(name: str) -> Spent:
        order.append(name)
        return Spent(next(times), 0.0)

    found = in_turn({"a": lambda: cell("a"), "b": lambda: cell("b")}, 3)
    assert order == ["a", "b"] * 3
    assert ratio(found["b"], found["a"]) == 2  # of 2, 4 and 2: a slow round slows both
    assert median(found["a"]) == 3


@pytest.mark.parametrize("calls", WALKS)
def test_walks_are_of_so_many_calls(calls: int) -> None:
    levels, sizes = WALKS[calls]
    assert InexactNewton(step_sizes=sizes).calls(levels) == calls


class Counting(torch.nn.Module):
    """A network that predicts nothing and counts how often it is asked."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.config, self.told = config, []

    def forward(self, x: torch.Tensor, t: torch.Tensor | int, cond: torch.Tensor, return_dict: bool) -> tuple:
        self.told.append(t)
        return (0.1 * x,)


def test_references_ask_as_often_as_they_say(tiny_sd: Path) -> None:
    model = bare.load(tiny_sd, torch.device("cpu"))
    network = model.unet = Counting(model.unet.config)
    given = bare.pictures(model, 2)
    assert tuple(given.shape) == (2, *picture_shape(str(tiny_sd)))
    assert bare.least(model, given, 7).shape == given.shape
    assert len(network.told) == 7
    network.told.clear()
    assert bare.published(model, given[:1], 20).isfinite().all()
    assert len(network.told) == 220
    assert (network.told[0], network.told[-1]) == (1000, 50)


def test_the_pipeline_is_timed_without_its_start(setting: Setting) -> None:
    shard = rates.inputs(setting, 2)
    out = setting.work / "run"
    seconds, batches = steady(setting.arguments(shard, out, 6), out)
    assert batches == 2
    assert seconds.wall > 0 < seconds.cpu
    with pytest.raises(RuntimeError, match="after 1 batches"):
        steady([*setting.arguments(shard, out, 6), "data.limit=2"], out)


def test_the_way_from_the_published_loop_is_one_change_at_a_time(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool, bool]] = []

    def pipeline(one: Setting, calls: int, batches: int) -> Spent:
        asked.append((one.precision, one.compile, one.cuda_graphs))
        return Spent(8.0 / len(asked), 2.0)

    monkeypatch.setattr(rates, "pipeline", pipeline)
    whole = replace(setting, precision="bf16", compile=True, cuda_graphs=True)
    found = rates.against_published(whole, 6, 1, 1)
    assert asked == [("32", False, False), ("bf16", False, False), ("bf16", True, False), ("bf16", True, True)]
    assert [row["stage"] for row in found["stages"]] == ["batch", "type", "compile", "cuda graphs"]
    assert [row["factor"] for row in found["stages"][1:]] == pytest.approx([2, 3 / 2, 4 / 3])
    assert [row["factor_by_cpu"] for row in found["stages"][1:]] == [1, 1, 1]
    assert found["stages"][-1]["times"] == pytest.approx(4 * found["stages"][0]["times"])
    assert list(rates.stages(setting)) == ["batch"]
    asked.clear()
    monkeypatch.setattr(rates, "pipeline", lambda one, calls, batches: Spent(float(calls), 1.0))
    found = rates.against_published(setting, 40, 1, 1)
    assert [row["stage"] for row in found["stages"]] == ["batch", "20 calls"]
    assert found["stages"][-1]["factor"] == 2


def test_the_preset_costs_the_calls_it_is_called_by(setting: Setting) -> None:
    out = setting.work / "run"
    assert main(setting.arguments(rates.inputs(setting, 0), out, FEW)) == 0
    (rows,) = (out / "metrics").glob("*.parquet")
    assert {row["nfe"] for row in pq.read_table(rows).to_pylist()} == {FEW}


def test_memory_is_told_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", forked.Popen)
    monkeypatch.setattr(long, "EARLY", 10)
    monkeypatch.setattr(long, "ON_THE_WAY", (10, 30))
    found = long.flat(tmp_path, 12, shard=6)
    assert found["records"] == 12
    assert found["bytes"] == {"10": found["bytes_at_100th"]}
    assert 0 < found["bytes_at_100th"] <= found["bytes_at_last"]
    assert found["growth"] == pytest.approx(found["bytes_at_last"] / found["bytes_at_100th"] - 1)


def test_every_second_of_a_batch_has_a_place(setting: Setting) -> None:
    rows = steps.steps(setting, 6, 2, rates.inputs(setting, 2), torch.device("cpu"))
    ahead = [row for row in rows if not row["part"].endswith("behind")]
    assert sum(row["share"] for row in ahead) == pytest.approx(1)
    assert all(row["seconds"] >= 0 for row in rows)
    assert {"network", "error, direction", "encode, decode", "PNG, behind"} <= {row["part"] for row in rows}


def test_what_a_gpu_would_be_asked(setting: Setting) -> None:
    found = large.sweep(setting, [6], [1, 2], side=64)
    assert [(row["calls"], row["batch"]) for row in found["rows"]] == [(6, 1), (6, 2)]
    first = found["rows"][0]
    share = 6 * found["tflop_a_call"] / first["seconds_an_image"] / found["matmul_tflops"]
    assert first["share_of_matmul"] == pytest.approx(share)
    assert "of matmul" in large.table(found)


def test_rivals_are_timed_at_the_calls_they_are_given(setting: Setting) -> None:
    shard = rates.inputs(setting, 1)
    rows = rivals.rivals(setting, ["krylov@4", "replacement@7"], None, shard, 1, 1)
    assert [row["name"] for row in rows] == ["krylov@4", "replacement@7"]
    assert rows[0]["times"] == rows[0]["times_by_cpu"] == 1
    (metrics,) = (setting.work / "run" / "metrics").glob("*.parquet")
    assert {row["nfe"] for row in pq.read_table(metrics).to_pylist()} == {7}
    assert "krylov@4 is" in rivals.table(rows)
    with pytest.raises(UsageError, match="--rivals=newton-k5@6: expected calls that newton-k5 can do with"):
        rivals.rivals(setting, ["newton-k5@6"], None, shard, 1, 1)


def test_a_written_model_is_one(tmp_path: Path) -> None:
    folder = large.write(tmp_path / "tiny", "tiny")
    assert picture_shape(str(folder)) == (3, 64, 64)
    model = bare.load(folder, torch.device("cpu"))
    assert bare.least(model, bare.pictures(model, 1), 1).shape == (1, 3, 64, 64)
    assert large.operations(model) > 10**6


def test_the_job_writes_and_shows(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(tiny_sd), "--batch", "2", "--calls", "6", "--batches", "1", "--repeats", "1"]
    arguments = ["benchmark.py", "--out", str(tmp_path), "--parts", "efficiency,published,factors", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        command(benchmark.parser(), benchmark.run)
    assert ended.value.code == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    assert report["efficiency"][0]["efficiency"] > 0
    (stage,) = report["published"]["stages"]
    assert stage["stage"] == "batch"
    assert stage["factor"] == stage["times"] > 0
    assert report["factors"][0]["times"] == 1
    assert not (tmp_path / "work").exists()
    said = capsys.readouterr().out
    assert "efficiency" in said
    assert "times the published loop" in said


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--parts", "memmory"], "memory"),
        (["--calls", "7"], "7"),
        (["--sweep", "a"], "a"),
        (["--rivals", "dng@40"], "ding"),
    ],
)
def test_mistakes_are_one_line(
    wrong: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--out", str(tmp_path / "o"), *wrong])
    with pytest.raises(SystemExit) as ended:
        command(benchmark.parser(), benchmark.run)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_threads_beside_busy_programs(tiny_sd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", forked.Popen)
    monkeypatch.setattr(threads, "BUSY", (1,))
    monkeypatch.setattr(threads, "cores", lambda: 1)
    (row,) = threads.threads(str(tiny_sd), 2, 1, 1)
    assert (row["busy"], row["threads"], row["waiting"]) == (1, 1, None)
    assert min(row["wall"], row["cpu"], row["others"]) > 0
    assert "1 busy beside" in threads.table([row])

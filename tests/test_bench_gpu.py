"""fcs-bench gpu on a CPU: the same code at tiny sizes; what is there is not measured again, what fails is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fcs.bench import cli, gpu, gpu_checks, gpu_speed
from fcs.bench.gpu import Extent, Part
from fcs.bench.gpu_models import SIZES
from fcs.bench.gpu_table import table

NAMES = ["speed", "results against the CPU's", "cosines of J e", "types", "decoding at once", "deterministic kernels"]
NAMES += ["host", "everything on", "larger models", "compiled"]


def rows_of(*rows: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from rows


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of parts as they are measured: one that works, one that fails on the way, one that takes too long."""
    asked: list[str] = []

    def plan(device: torch.device, rate: float, work: Path, scale: Extent) -> list[Part]:
        def works() -> Iterator[dict[str, Any]]:
            asked.append("works")
            yield {"calls": 40, "seconds_a_picture": 0.5, "share_of_matmul": 0.25, "same": True}

        def fails() -> Iterator[dict[str, Any]]:
            asked.append("fails")
            yield {"calls": 20}
            raise RuntimeError("no kernel\nand more")

        return [Part("works", 0, works), Part("fails", 0, fails), Part("long", 1e6, lambda: rows_of({"calls": 1}))]

    monkeypatch.setattr(gpu, "plan", plan)
    return asked


def test_what_is_done_is_kept_and_what_fails_is_said(
    parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["gpu", "--out", str(tmp_path / "gpu"), "--minutes", "1", "--device", "cpu"]
    for asked in (["works", "fails"], ["fails"]):
        parts.clear()
        assert cli.main(arguments) == 0
        assert parts == asked
        found = json.loads((tmp_path / "gpu" / "gpu.json").read_text())["parts"]
        assert [one["done"] for one in found.values()] == [True, False, False]
        assert found["fails"]["rows"] == [{"calls": 20}]
        assert found["fails"]["note"] == "RuntimeError: no kernel"
        assert "of 1000000 s needed" in found["long"]["note"]
    shown = capsys.readouterr().out
    assert "| 40 | 0.5 | 25.0% | yes |" in shown


def test_figures_of_another_card_are_moved_aside(parts: list[str], tmp_path: Path) -> None:
    other = {"facts": {"hardware": "another", "torch": "1", "date": "2026-01-01"}, "parts": {"works": {"done": True}}}
    (tmp_path / "gpu.json").write_text(json.dumps(other))
    assert cli.main(["gpu", "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert parts == ["works", "fails"]
    assert json.loads((tmp_path / "gpu-2026-01-01.json").read_text()) == other


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--device", "cuda"], "--device=cuda: expected a GPU; torch"),
        (["--device", "tpu"], "--device=tpu: expected cuda or cpu"),
        (["--device", "cpu", "--minutes", "0"], "--minutes=0: expected a whole number above 0"),
        (["--device", "cpu", "seed=1"], "seed=1: expected nothing more"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["gpu", "--out", str(tmp_path / "gpu"), *arguments]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "gpu").exists()


def test_the_parts_are_in_order_and_one_works_whole(tmp_path: Path) -> None:
    device = torch.device("cpu")
    found = {part.name: part for part in gpu.plan(device, 1e9, tmp_path, gpu.TINY)}
    assert list(found) == NAMES
    rows = {name: list(found[name].rows()) for name in ("speed", "decoding at once", "host")}
    assert [row["batch"] for row in rows["speed"]] == [1, 1, 4, 2, 4]
    assert all(row["share_of_matmul"] > 0 for row in rows["speed"])
    (decoded,) = rows["decoding at once"]
    assert decoded["finite"]
    assert decoded["worst"] < 1e-4
    assert [row["format"] for row in rows["host"]] == ["png", "png", "jpg", "jpg"]
    made = {"facts": {"hardware": "x", "torch": "1", "date": "d", "command": "c"}, "parts": {}}
    made["parts"] = {name: {"rows": more} for name, more in rows.items()}
    assert table(made).count("### ") == 3


@pytest.mark.card
def test_every_part_works(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "card" not in request.config.option.markexpr:
        pytest.skip("takes minutes; asked for with -m card")
    assert cli.main(["gpu", "--out", str(tmp_path), "--minutes", "60", "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert [one["done"] for one in found.values()] == [True] * len(NAMES), found


@pytest.mark.parametrize("calls", gpu_speed.WALKS)
def test_walks_are_of_so_many_calls(calls: int) -> None:
    sampler, steps = gpu_speed.walk(calls)
    assert sampler.calls(steps) == calls


def test_shipped_records_are_there() -> None:
    from fcs.models import find, load

    model = load(find("digits-16"))
    batch = gpu_checks.records("digits-16", model, 3)
    assert batch.images.shape == (3, 1, 16, 16)
    assert all(batch.valid)
    assert 0 < batch.masks.float().mean() < 255


def test_the_large_sizes_are_published_ones() -> None:
    """Made without memory: Stable Diffusion 1.5 has 860 million weights in its network, SDXL 2,567."""
    from fcs.bench.gpu_models import SizedNetwork

    with torch.device("meta"):
        counts = [
            sum(one.numel() for one in SizedNetwork(SIZES[size], 64).parameters()) for size in ("sd15-512", "sdxl-1024")
        ]
    assert [round(count / 1e6) for count in counts] == [860, 2567]

"""data.batch_size=auto: the largest power of two that fits, found by trying and recorded."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.runs import DIGITS_RUN

from fcs.core import memory
from fcs.engine import batch_size_finder
from fcs.engine.config import load_config
from fcs.engine.trainer import compiles, planned_calls
from fcs.models import Model
from fcs.samplers import DDIM
from fcs.shards.input.whole_tar import members_by_key
from fcs.tasks import Inpaint
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli.predict import main


@dataclass(frozen=True)
class Device:
    """A solver on a device of which nothing else is asked."""

    kind: str
    steps: int = 20

    @property
    def model(self) -> SimpleNamespace:
        return SimpleNamespace(device=torch.device(self.kind))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes that are tried where a record takes 100 bytes, beside 50 that all share, and 10,000 are free."""
    sizes: list[int] = []

    def peak(solver: Device, shape: batch_size_finder.Shape, count: int) -> int:
        assert solver.steps == 1
        sizes.append(count)
        return 50 + 100 * count

    monkeypatch.setattr(batch_size_finder, "peak", peak)
    monkeypatch.setattr(batch_size_finder, "free", lambda device: 10_000)
    return sizes


@pytest.mark.parametrize(("kind", "peers", "size", "sizes"), [
    ("cuda", 1, 64, [1, 2, 4, 8, 16, 32, 64]),  # of 8,500 bytes; the last is the first of which twice would not fit
    ("cpu", 1, 32, [8]),  # of 5,000
    ("cpu", 4, 8, [8]),
    ("cpu", 100, 1, [8]),
])  # fmt: skip
def test_the_largest_that_fits(tried: list[int], kind: str, peers: int, size: int, sizes: list[int]) -> None:
    found = batch_size_finder.largest(Device(kind), (1, 4, 4), peers)  # type: ignore[arg-type]
    assert (found, tried) == (size, sizes)
    assert batch_size_finder.SHARE[kind] * 10_000 / peers >= 50 + 100 * found or found == 1


def test_no_more_than_pays(tried: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size_finder, "free", lambda device: 10**9)
    assert batch_size_finder.largest(Device("cpu"), (1, 4, 4)) == batch_size_finder.MOST["cpu"]  # type: ignore[arg-type]
    assert batch_size_finder.largest(Device("cuda"), (1, 4, 4)) == batch_size_finder.MOST["cuda"]  # type: ignore[arg-type]


def test_half_of_what_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(solver: Device, shape: batch_size_finder.Shape, count: int) -> int:
        if count > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1  # as if something else took the rest

    monkeypatch.setattr(batch_size_finder, "peak", peak)
    monkeypatch.setattr(batch_size_finder, "free", lambda device: 10**9)
    assert batch_size_finder.largest(Device("cuda"), (1, 4, 4)) == 4  # type: ignore[arg-type]


def test_memory_grows_with_the_batch(digits: Model) -> None:
    solver = Pipeline(digits, Inpaint(), DDIM(), 1)
    blocks = [b"1" * 2**16 for _ in range(2**12)]  # too small for pages of their own: malloc keeps them when freed
    last = blocks.pop()  # above the others, so that they do not go back by themselves
    blocks.clear()
    few, many = (batch_size_finder.peak(solver, digits.picture_shape, count) for count in (8, 128))
    assert few < many < 2**30
    assert len(last) == 2**16


def test_control_groups_count(tmp_path: Path) -> None:
    groups, job = tmp_path / "groups", tmp_path / "top" / "job"
    groups.write_text("0::/job/step\n1:cpu:/elsewhere\n")
    (job / "step").mkdir(parents=True)
    (job / "step" / "memory.max").write_text("max\n")
    (job / "step" / "memory.current").write_text("100\n")
    (job / "memory.max").write_text("1000\n")
    (job / "memory.current").write_text("300\n")
    assert min(memory._granted(groups, tmp_path / "top")) == 700
    old = tmp_path / "top" / "memory" / "job"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("900\n")
    (old / "memory.usage_in_bytes").write_text("400\n")
    groups.write_text("4:memory:/job\n0::/\n")
    assert min(memory._granted(groups, tmp_path / "top")) == 500


def test_a_run_says_what_it_took(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(batch_size_finder.MOST, "cpu", 8)
    settings = [setting for setting in DIGITS_RUN if "batch_size" not in setting]
    with caplog.at_level(logging.WARNING, "fcs"):
        assert main(["--config", "digits_inpaint", f"out={tmp_path}/o", *settings, "data.batch_size=auto"]) == 0
    assert "data.batch_size=auto: 8 here" in caplog.text
    (worker,) = [json.loads(path.read_text()) for path in (tmp_path / "o" / "workers").glob("*.json")]
    assert (worker["slots"], worker["batch"]) == (8, 8)
    shard = Path("shards") / "mixed.tar"
    assert members_by_key(tmp_path / "o" / shard) == members_by_key(digits_run / shard)


@pytest.mark.parametrize(
    ("settings", "records", "compiled"),
    [([], 72, False), ([], 100_000, True), ([], None, True), (["trainer.compile=true"], 72, True)],
)
def test_a_card_compiles_where_the_calls_repay_it(
    settings: list[str], records: int | None, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few emoji are sampled in less time than their network is compiled in."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    run, _ = load_config.load(["emoji_inpaint"], settings)
    assert compiles(run, planned_calls(run, records, 12, 1)) is compiled
    assert planned_calls(run, 25, 4, 2) == 4 * run.task.calls(run.sampler, run.steps)  # 7 batches, 4 and 3

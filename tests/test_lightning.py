"""A run in other people's Trainers and under other launchers: the bytes of ``fcs-predict``, whatever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
from helpers import forked
from helpers.runs import DIGITS_RUN
from helpers.waiting import GUARD, wait_until

from fcs.core.errors import Interrupted, UsageError
from fcs.core.records import Batch, Result
from fcs.lightning import GracefulStop, PredictModule, Preflight, ShardDataModule, ShardWriter, configure, is_empty
from fcs.tools.cli.predict import main

TAR = "shards/mixed.tar"
# Python reads it first. In rank KILLED a sampler never gets past its first call; the others wait until it is there.
HANG = """
import os, sys, time
from pathlib import Path
killed = os.environ.get("KILLED")
if killed is not None and ("RANK" in os.environ or "own.py" in sys.orig_argv):
    from fcs.core.denoiser import Guided
    call, mark = Guided.__call__, Path(os.environ["MARK"])
    mine = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == killed
    def hang(self, x, level):
        if mine:
            mark.with_suffix(".new").write_text(str(os.getpid()))
            mark.with_suffix(".new").rename(mark)
        while mine or not mark.exists():
            time.sleep(0.05)
        return call(self, x, level)
    Guided.__call__ = hang
"""
PAGE = (Path(__file__).parents[1] / "docs" / "lightning.md").read_text()
OWN = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
SETTINGS = [*DIGITS_RUN, "previews.max=0"]
# Twelve batches in two slices, one for each rank; a level is enough.
SLICES = [*SETTINGS, "data.batch_size=2", "steps=1"]


def trainer(run: Preflight, *callbacks: L.Callback, inference_mode: bool = False, **options: object) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        callbacks=[ShardWriter(run), *callbacks],
        inference_mode=inference_mode,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **options,  # type: ignore[arg-type]
    )


class Seen(L.Callback):
    """What predict_step returned for batches with records."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Result, batch: Batch, batch_idx: int
    ) -> None:
        if not is_empty(batch):
            self.results.append(outputs)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_in_ones_own_trainer(digits_run: Path, tmp_path: Path) -> None:
    run, seen = configure("digits_inpaint", f"out={tmp_path}/run", *SETTINGS), Seen()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    trainer(run, seen).predict(PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False)
    assert (tmp_path / "run" / TAR).read_bytes() == (digits_run / TAR).read_bytes()
    assert [result.images.shape for result in seen.results] == [(8, 1, 16, 16)] * 3
    assert all(result.calls == (6,) * 8 for result in seen.results)
    assert {number: signal.getsignal(number) for number in before} == before
    again = Seen()
    trainer(run, again).predict(PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False)
    assert again.results == []


class Signals(L.Callback):
    """A signal while the first batch is sampled."""

    def on_predict_batch_start(self, *given: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
def test_a_signal_stops_it_only_with_the_callback(digits_run: Path, tmp_path: Path) -> None:
    run = configure("digits_inpaint", f"out={tmp_path}/run", *SETTINGS)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"):
        trainer(run, GracefulStop(), Signals()).predict(
            PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False
        )
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "run" / TAR).exists()
    assert not [path for path in (tmp_path / "run" / "claims").rglob("*") if path.is_file()]
    trainer(run, Signals()).predict(PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False)
    assert (tmp_path / "run" / TAR).read_bytes() == (digits_run / TAR).read_bytes()


class Other(L.LightningModule):
    """A module of somebody else's."""

    def predict_step(self, batch: Batch, batch_idx: int) -> Batch:
        return batch


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    run = configure("digits_inpaint", f"out={tmp_path}/run", *SETTINGS)
    data = ShardDataModule(run)
    with pytest.raises(UsageError, match="inference_mode=False"):
        trainer(run, inference_mode=True).predict(PredictModule(run), datamodule=data)
    with pytest.raises(UsageError, match=r"trainer\.precision"):
        trainer(run, precision="bf16-mixed").predict(PredictModule(run), datamodule=data)
    assert not (tmp_path / "run").exists()
    silent = L.Trainer(accelerator="cpu", logger=False, inference_mode=False, enable_checkpointing=False)
    with pytest.raises(UsageError, match="ShardWriter"):
        silent.predict(PredictModule(run), datamodule=data)
    with pytest.raises(UsageError, match="PredictModule"):
        trainer(run).predict(Other(), datamodule=data)


COMMAND = [sys.executable, "-m", "fcs.tools.cli.predict", "--config", "digits_inpaint", "out=runs/mine", *SLICES]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--no-python"]
WAYS = {
    "own": [sys.executable, "own.py"],  # as the page has it
    "torchrun": [*TORCHRUN, *COMMAND],
    "ddp": [*COMMAND, "trainer.strategy=ddp", "trainer.devices=2"],
    "independent": [*COMMAND, "trainer.devices=2"],
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process of fcs-predict makes of it."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert main(["--config", "digits_inpaint", f"out={out}", *SLICES]) == 0
    return (out / TAR).read_bytes()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts a run in one of the ways; with a rank whose sampler hangs, where one is named."""
    assert '"steps=2"' in OWN
    (tmp_path / "own.py").write_text(OWN.replace("steps=2", "steps=1"))
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "sitecustomize.py").write_text(HANG)

    def started(way: str, killed: int | None = None) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [f"{tmp_path}/first", os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "MARK": str(tmp_path / "mark"), "PYTHONPATH": path}
        environment |= {} if killed is None else {"KILLED": str(killed)}
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        return forked.Popen(WAYS[way], cwd=tmp_path, env=environment, stdout=pipe, stderr=both, text=True)

    return started


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=GUARD)
    return process.returncode, said


@pytest.mark.parametrize("way", list(WAYS))
def test_two_ranks_one_killed_and_the_same_again(
    way: str, alone: bytes, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    mark = tmp_path / "mark"
    with start(way, killed=0) as process:
        wait_until(lambda: mark.exists() or process.poll() is not None)
        assert mark.exists(), process.stdout.read() if process.stdout else ""
        os.kill(int(mark.read_text()), signal.SIGKILL)
        code, said = ended(process)
    assert code != 0, said
    with start(way) as process:
        code, said = ended(process)
    assert code == 0, said
    assert (tmp_path / "runs" / "mine" / TAR).read_bytes() == alone

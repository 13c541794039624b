"""How one process uses its machine: its device, its threads, and Lightning's Trainer without what it would add."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.strategies import ParallelStrategy

from fcs.core.errors import UsageError
from fcs.engine.batch_size_finder import largest
from fcs.engine.config.run import Run
from fcs.engine.cpu_threads import threads
from fcs.engine.process_info import ProcessInfo, check
from fcs.engine.strategies import IndependentStrategy, LaunchedDDPStrategy
from fcs.tasks.pipeline import Pipeline

# Calls that repay compiling: it takes minutes and saves about a fifth of a call (docs/speed.md), of which a card makes
# ten to a hundred a second. Not measured on one.
REPAYS = 5000
log = logging.getLogger("fcs")
PATIENCE = 60.0  # seconds beyond ``trainer.grace`` that ranks of a process group have to end when one of them failed


def trainer(
    config: Run, info: ProcessInfo, count: int, callbacks: Sequence[L.Callback], command: Sequence[str]
) -> L.Trainer:
    """The Trainer of ``fcs-predict``: it computes on one device, or starts the ranks that do.

    Args:
        config: the run's configuration.
        info: of this process.
        count: ranks to start on this machine; 1 for none.
        callbacks: what takes the results.
        command: what each rank runs.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    devices = [device(local) for local in range(max(count, info.peers))]
    first = info.overall(info.rank, info.world)[0] == 0
    return L.Trainer(
        strategy=_strategy(config, info, devices, command),
        callbacks=list(callbacks),
        deterministic=config.trainer.deterministic,
        inference_mode=False,  # gradients of constraints cannot be had inside it
        logger=config.trainer.logger if config.trainer.logger is not None and first else False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        # Nothing is written there, and a checkpoint that another job left must not be found and loaded.
        default_root_dir=os.devnull,
    )


def _strategy(config: Run, info: ProcessInfo, devices: list[torch.device], command: Sequence[str]) -> ParallelStrategy:
    if config.trainer.strategy == "ddp":
        return LaunchedDDPStrategy(devices, command, info, config.trainer.grace + PATIENCE)
    return IndependentStrategy(devices, command, info)


def ranks_to_start(config: Run, info: ProcessInfo) -> int:
    """How many ranks this process has to start: one a device, or 1 where it is to compute itself.

    Raises:
        UsageError: more are asked for than the machine has GPUs, or cores where it has none; or the launcher was asked
            for something else.
    """
    gpus, asked = torch.cuda.device_count(), config.trainer.devices
    check(info, asked, gpus)
    if not info.may_start:
        return 1
    if asked == "auto":
        return max(gpus, 1)
    most, what = (gpus, "GPUs") if gpus else (os.cpu_count() or 1, "cores")
    if asked > most:
        raise UsageError.of("trainer.devices", asked, f"at most the {most} {what} of this machine")
    return int(asked)


def device(local: int) -> torch.device:
    """Where the process of this local rank computes."""
    gpus = torch.cuda.device_count()
    return torch.device("cuda", local % gpus) if gpus else torch.device("cpu")


def batch_size(
    config: Run, pipeline: Pipeline, shape: tuple[int, int, int], device: torch.device, peers: int = 1
) -> int:
    """Slots of a batch: as asked for, or as many as fit in memory.

    Args:
        config: the run's configuration.
        pipeline: its model goes to the device where that has to be tried.
        shape: ``(C, H, W)`` of a record's picture.
        device: where this process computes.
        peers: processes of the run on this machine, which share its memory.
    """
    if config.data.batch_size != "auto":
        return config.data.batch_size
    pipeline.model.to(device)
    try:
        size = largest(pipeline, shape, 1 if device.type == "cuda" else peers)
    except OSError as error:
        raise UsageError.of(
            "data.batch_size", "auto", f"a number where /proc does not tell of memory ({error})"
        ) from error
    log.warning("data.batch_size=auto: %d here; with another number of slots bytes may differ", size)
    return size


def takes_tf32(config: Run) -> bool:
    """Whether the network's float32 products may round to ten mantissa bits on a GPU: only by leave.

    A difference of .005 does not survive it, and what 16 bits keep in float32 is kept because rounding harms it. The
    switch is of the whole process and the metrics' networks compute beside the sampler, so it stays off for all where
    anything needs every digit of float32.
    """
    return config.trainer.tf32 is True and not config.metrics.networks


def compiles(config: Run, calls: int | None) -> bool:
    """Whether the network is to be compiled: as asked for, else on a GPU, where the calls of this process repay it.

    Args:
        config: the run's.
        calls: of the network, for all batches of this process; None where that is not known.
    """
    if config.trainer.compile is not None:
        return config.trainer.compile
    return torch.cuda.is_available() and (calls is None or calls >= REPAYS)


def planned_calls(config: Run, records: int | None, slots: int, processes: int) -> int | None:
    """Calls of the network that one of ``processes`` will make for ``records``; None where these are not counted."""
    if records is None:
        return None
    return math.ceil(records / slots / processes) * config.task.calls(config.sampler, config.steps)


def limit_threads(info: ProcessInfo) -> None:
    """Have torch compute with this process's share of the cores on its CPU; with fewer where it was told so before."""
    share = threads(info)
    if share is not None:
        torch.set_num_threads(min(torch.get_num_threads(), share))

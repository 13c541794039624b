"""How one process uses its machine: its device, its threads, and Lightning's Trainer without what it would add."""

from __future__ import annotations

import logging
import os

import lightning as L
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment

from fcs.core.errors import UsageError
from fcs.engine.batch_size_finder import largest
from fcs.engine.config.run import Run
from fcs.engine.process_info import ProcessInfo
from fcs.tasks.pipeline import Pipeline

log = logging.getLogger("fcs")


def trainer(run: Run, place: ProcessInfo) -> L.Trainer:
    """A Trainer of one device that writes nothing, starts nothing and requeues nothing."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    gpu = torch.cuda.is_available()
    if not gpu and place.peers > 1:
        torch.set_num_threads(threads(place, torch.get_num_threads()))
    return L.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[device(place).index] if gpu else 1,
        deterministic=run.trainer.deterministic,
        # The ranks of a run share nothing, and Lightning's own SLURM handling would requeue the job.
        plugins=[LightningEnvironment()],
        inference_mode=False,  # gradients of constraints cannot be had inside it
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        # Nothing is written there, and a checkpoint that another job left must not be found and loaded.
        default_root_dir=os.devnull,
    )


def device(place: ProcessInfo) -> torch.device:
    """Where this process computes."""
    gpus = torch.cuda.device_count()
    return torch.device("cuda", place.local % gpus) if gpus else torch.device("cpu")


def batch_size(run: Run, solver: Pipeline, shape: tuple[int, int, int], place: ProcessInfo) -> int:
    """Slots of a batch: as asked for, or as many as fit in memory.

    Args:
        run: its configuration.
        solver: its model goes to the device where that has to be tried.
        shape: ``(C, H, W)`` of a record's picture.
        place: of this process.
    """
    if run.data.batch_size != "auto":
        return run.data.batch_size
    where = device(place)
    solver.model.to(where)
    try:
        size = largest(solver, shape, 1 if where.type == "cuda" else place.peers)
    except OSError as error:
        raise UsageError.of(
            "data.batch_size", "auto", f"a number where /proc does not tell of memory ({error})"
        ) from error
    log.warning("data.batch_size=auto: %d here; with another number of slots bytes may differ", size)
    return size


def takes_tf32(run: Run) -> bool:
    """Whether float32's products may round to ten mantissa bits on a GPU; a difference of .005 does not survive it.

    The switch is of the whole process and the metrics' networks compute beside the sampler, so it stays off for all
    where anything needs every digit of float32.
    """
    if run.task.needs_float32 or run.metrics.networks:
        return False
    if run.trainer.tf32 is not None:
        return run.trainer.tf32
    return run.trainer.precision != "32"


def compiles(run: Run) -> bool:
    """Whether the network is to be compiled: as asked for, else on a GPU only."""
    return torch.cuda.is_available() if run.trainer.compile is None else run.trainer.compile


def threads(place: ProcessInfo, most: int) -> int:
    """Threads of a process that shares its node with others of the run; no more than it would take alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "") if not place.started else ""
    return max(1, min(most, int(given) if given.isdecimal() else cores // place.peers))

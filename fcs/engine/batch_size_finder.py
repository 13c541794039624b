"""The batch size that fits in memory: measured with the run's own model, task and sampler."""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from fcs.core.collate import collate
from fcs.core.memory import free, held, is_out_of_memory
from fcs.core.records import Batch, Record
from fcs.tasks.pipeline import Pipeline

Shape = tuple[int, int, int]

# The rest is for results that are being written, and for prompts and masks that need more than these.
SHARE = {"cuda": 0.85, "cpu": 0.5}
# On a CPU larger batches than 16 save hardly any time per record (docs/speed.md), and a lost batch costs more.
MOST = {"cuda": 256, "cpu": 64}
PROBE = 8  # records on a CPU; a process that takes too much memory there is killed, so larger sizes are not tried


def noise_batch(shape: Shape, count: int, measurement: tuple[int, ...] | None = None) -> Batch:
    """``count`` pictures of noise, ``(C, H, W)`` each, whose right half is to be generated.

    Args:
        shape: of a picture.
        count: slots.
        measurement: shape of what is given instead of a picture; nothing is measured, all zeros.
    """
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(1, *shape[1:], dtype=torch.uint8)
    masks[..., shape[2] // 2 :] = 255
    pictures = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    measured = None if measurement is None else torch.zeros(measurement)
    records = [Record(i, str(i), picture, masks, seed=i, measurement=measured) for i, picture in enumerate(pictures)]
    return collate("", 0, records, shape, 0)


def peak(pipeline: Pipeline, shape: Shape, count: int) -> int:
    """Peak memory in bytes of sampling one batch of noise, above what was held before.

    Raises:
        OSError: a CPU of a machine without Linux's /proc.
    """
    device = pipeline.model.device
    measurement = pipeline.task.measurement_shape(pipeline.model)
    batch = noise_batch(shape, count, measurement).to(device)
    pipeline(noise_batch(shape, 1, measurement).to(device))  # whatever is loaded at the first use
    before = held(device, peak=False)
    pipeline(batch)
    return held(device, peak=True) - before


def largest(pipeline: Pipeline, shape: Shape, peers: int = 1) -> int:
    """The largest batch size, a power of two, that fits. One level is sampled: it needs as much as many.

    On a GPU the size is doubled until twice the memory of the last would not fit. On a CPU one size is measured, and
    memory is assumed to grow in proportion.

    Args:
        pipeline: of the run, on its device.
        shape: ``(C, H, W)`` of a record's picture.
        peers: processes that share the memory.

    Raises:
        OSError: a CPU of a machine without Linux's /proc.
    """
    kind, short = pipeline.model.device.type, replace(pipeline, steps=1)
    size = 1 if kind == "cuda" else PROBE
    needed = _needed(short, shape, size)
    available = SHARE[kind] * free(pipeline.model.device) / peers
    while kind == "cuda" and needed is not None and size < MOST[kind] and 2 * needed <= available:
        size *= 2
        needed = _needed(short, shape, size)
    if needed is None:
        return max(size // 2, 1)
    if kind == "cuda":
        return size
    fits = int(min(MOST[kind], size * available / max(needed, 1)))
    return 1 << max(fits.bit_length() - 1, 0)


def _needed(pipeline: Pipeline, shape: Shape, size: int) -> int | None:
    """Peak memory in bytes; None where it did not fit."""
    try:
        return peak(pipeline, shape, size)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        gc.collect()
        if pipeline.model.device.type == "cuda":
            torch.cuda.empty_cache()

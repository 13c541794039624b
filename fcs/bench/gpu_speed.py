"""How fast a card samples, against what its matrix products can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from fcs.bench.gpu_models import SIZES, SizedModel
from fcs.core.autocast import AUTOCAST
from fcs.core.directions import Newton
from fcs.core.memory import held, is_out_of_memory
from fcs.core.records import Batch
from fcs.engine.batch_size_finder import noise_batch
from fcs.samplers import InexactNewton
from fcs.samplers.base import Sampler
from fcs.tasks import Inpaint
from fcs.tasks.pipeline import Pipeline

SIDE = 8192  # of the square matrices whose product says what a card can do
# Levels and step sizes of so many calls: levels x (1 + 2 K).
WALKS = {220: (20, 5), 100: (20, 2), 40: (8, 2), 20: (4, 2), 5: (1, 2)}
LENGTH = 0.25  # of the differences; how long they are makes no difference to the time


def ended(device: torch.device) -> None:
    """Wait for all that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(do: Callable[[], object], device: torch.device) -> float:
    """What one call takes, the card's work included."""
    ended(device)
    began = time.perf_counter()
    do()
    ended(device)
    return time.perf_counter() - began


def matmul(device: torch.device, side: int = SIDE, repeats: int = 20) -> float:
    """Operations a second of a product of square bf16 matrices."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    a @ a
    return 2 * side**3 / statistics.median(seconds(lambda: a @ a, device) for _ in range(repeats))


@torch.no_grad()
def operations(model: SizedModel) -> int:
    """Operations of one call for one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.zeros(1, *model.shape, device=model.device)
    with FlopCounterMode(display=False) as counter:
        model.guided([""])(x, model.schedule.levels(2)[0])
    return int(counter.get_total_flops())


def walk(calls: int) -> tuple[Sampler, int]:
    """The paper's sampler with so many calls, and its levels."""
    steps, moves = WALKS[calls]
    direction = Newton("auto").with_lengths({float(t): LENGTH for t in range(1000)})
    return InexactNewton(direction, [0.5, 0.4, 0.3, 0.2, 0.1][:moves]), steps


def solver(model: SizedModel, calls: int) -> Pipeline:
    """Inpainting in so many calls."""
    sampler, steps = walk(calls)
    return Pipeline(model, Inpaint(), sampler, steps)


def given(model: SizedModel, count: int) -> Batch:
    """Pictures of noise, half to be made."""
    return noise_batch(model.picture_shape, count).to(model.device)


def timed(model: SizedModel, calls: int, count: int) -> dict[str, Any]:
    """Seconds a picture of one batch: encoding, sampling, decoding, and the pictures back on the host."""
    batch, pipeline = given(model, count), solver(model, calls)
    replace(pipeline, steps=1)(batch)  # whatever is chosen or compiled at first
    with suppress(OSError):
        held(model.device, peak=False)
    spent = seconds(lambda: pipeline(batch), model.device)
    row: dict[str, Any] = {"calls": calls, "batch": count, "seconds_a_picture": spent / count}
    with suppress(OSError):  # not a Linux machine
        row["gib"] = held(model.device, peak=True) / 2**30
    return row


def by_calls(size: str, device: torch.device, rate: float, calls: list[int], count: int) -> Iterator[dict[str, Any]]:
    """A row for each number of calls, in bf16; then for each batch at the first of them, until memory ends."""
    model = SizedModel(SIZES[size], device, torch.bfloat16)
    needed = operations(model)

    def row(asked: int, batch: int) -> dict[str, Any]:
        made = timed(model, asked, batch)
        share = asked * needed / made["seconds_a_picture"] / rate
        return {"model": size, "tflop_a_call": needed / 1e12, **made, "share_of_matmul": share}

    for asked in calls:
        yield row(asked, count)
    for batch in (1, 4, 2 * count, 4 * count):
        try:
            yield row(calls[0], batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            yield {"model": size, "calls": calls[0], "batch": batch, "failed": "out of memory"}
            return


def by_arithmetic(size: str, device: torch.device, calls: int, count: int) -> Iterator[dict[str, Any]]:
    """A row for each type of the network's arithmetic."""
    for name, autocast in AUTOCAST.items():
        yield {"model": size, "precision": name, **timed(SizedModel(SIZES[size], device, autocast), calls, count)}


def compiled(size: str, device: torch.device, calls: int, count: int) -> Iterator[dict[str, Any]]:
    """Eager, compiled, and replayed as a CUDA graph where there are such; with the seconds until the first batch."""
    model = SizedModel(SIZES[size], device, torch.bfloat16)
    yield {"model": size, "how": "eager", **timed(model, calls, count)}
    for how, graphs in (("compiled", False), ("cuda graphs", True)):
        if graphs and device.type != "cuda":
            return
        model.compile_network(graphs)
        first = seconds(lambda: solver(model, min(WALKS))(given(model, count)), device)
        yield {"model": size, "how": how, "seconds_to_compile": first, **timed(model, calls, count)}

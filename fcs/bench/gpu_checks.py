"""Whether a card's results are right: against the CPU's, alone against together, again against before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from fcs.bench.gpu_models import SIZES, SizedModel
from fcs.bench.gpu_speed import given, solver
from fcs.bench.truth import read_records
from fcs.core.autocast import AUTOCAST
from fcs.core.collate import collate
from fcs.core.directions import Gradient, Newton
from fcs.core.operators import GaussianBlur
from fcs.core.package_files import PACKAGE
from fcs.core.records import Batch
from fcs.core.tf32 import tf32
from fcs.models import Model, find, load
from fcs.samplers import InexactNewton
from fcs.shards.input.decode import Format
from fcs.shards.input.sources import resolve
from fcs.tasks import Inpaint, Restore, Superres
from fcs.tasks.base import Task
from fcs.tasks.half_precision import float32
from fcs.tasks.pipeline import Pipeline

SHIPPED = {"digits-16": "digits/half.tar", "emoji-64": "emoji/unseen.tar"}
NEAR = 2  # of 255: what rounding alone moves most pictures by


def records(name: str, model: Model, count: int) -> Batch:
    """The first records of a shipped model's shard."""
    shard = resolve(str(PACKAGE / "samples" / SHIPPED[name]))
    read = read_records(shard, Format(*model.picture_shape, needs_mask=True, captions=False), count)
    return collate("gpu", 0, list(read.values()), model.picture_shape, 0)


def against_the_cpu(name: str, device: torch.device, count: int, steps: int) -> Iterator[dict[str, Any]]:
    """How far each type's pictures are from those of the CPU in float32."""
    here = load(find(name))
    batch = records(name, here, count)
    sampler = InexactNewton(Newton("auto"), [0.5, 0.1])
    expected = Pipeline(here, Inpaint(), sampler, steps)(batch).images.int()
    for precision, autocast in AUTOCAST.items():
        if precision == "16" and device.type == "cpu":  # emulated there, and tens of times as slow
            continue
        there = load(find(name), autocast).to(device)
        pipeline = Pipeline(there, Inpaint(), sampler, steps)
        if pipeline.unmeasured:
            pipeline = pipeline.measured(pipeline.lengths())
        off = (pipeline(batch.to(device)).images.int() - expected).abs().flatten(1).amax(1)
        row = {"model": name, "precision": precision, "pictures": count, "median": off.float().median().item()}
        yield {**row, "worst": off.max().item(), "near": (off <= NEAR).float().mean().item()}


@torch.no_grad()
def together(size: str, device: torch.device, count: int) -> Iterator[dict[str, Any]]:
    """A batch decoded at once against each of its pictures decoded alone; 2^31 entries must not fail in silence."""
    model = SizedModel(SIZES[size], device)
    z = torch.randn(count, *model.shape, generator=torch.Generator().manual_seed(0)).to(device)
    at_once = model.decode(z)
    worst = max((at_once[i] - model.decode(z[i : i + 1])[0]).abs().max().item() for i in (0, count // 2, count - 1))
    yield {"model": size, "decoded": count, "worst": worst, "finite": bool(at_once.isfinite().all())}


def again(device: torch.device, count: int) -> Iterator[dict[str, Any]]:
    """Every kind of task twice under torch's deterministic kernels, with gradients where it has them: same bytes?"""
    model = load(find("emoji-64")).to(device)
    batch = records("emoji-64", model, count).to(device)
    tasks: dict[str, Task] = {
        "inpaint": Inpaint(),
        "superres": Superres(4, degrade=True),
        "superres, vae newton": Superres(4, degrade=True, error="vae_newton"),
        "blur": Restore(GaussianBlur(2.0), degrade=True),
    }
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for name, task in tasks.items():
            for direction in (Newton(0.05), Gradient()):
                pipeline = Pipeline(model, task, InexactNewton(direction, [0.5]), 2)
                row = {"task": name, "direction": type(direction).__name__}
                try:
                    first, second = (pipeline(batch).images for _ in range(2))
                    yield {**row, "same": torch.equal(first, second)}
                except RuntimeError as error:
                    yield {**row, "failed": str(error).splitlines()[0]}
    finally:
        torch.use_deterministic_algorithms(before)


@torch.no_grad()
def cosines(device: torch.device, count: int) -> Iterator[dict[str, Any]]:
    """Cosine of ``J e`` in each type to float32's, at three levels of emoji's samples; least of the pictures."""
    for precision in ("bf16", "16", "tf32"):
        if device.type == "cpu" and precision != "bf16":
            continue
        model = load(find("emoji-64"), AUTOCAST.get(precision)).to(device)
        levels, rounded = model.schedule.levels(20), precision == "tf32"
        with tf32(rounded):
            direction = Pipeline(model, Inpaint(), InexactNewton(Newton("auto"), [0.5])).lengths()
        newton, denoise = Newton("auto").with_lengths(direction), model.guided([""] * count)
        z = model.encode(records("emoji-64", model, count).to(device).images.float() / 127.5 - 1)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(device)
        for level in (levels[2], levels[10], levels[17]):
            x, f = level.alpha * z + level.sigma * noise, partial(denoise, level=level)
            e = z - f(x)
            with tf32(rounded):
                made = newton.linearize(f, x, level)[1](e)
            with float32():
                exact = newton.linearize(f, x, level)[1](e)
            least = F.cosine_similarity(made.flatten(1), exact.flatten(1)).min().item()
            yield {"precision": precision, "t": level.t, "cosine": least, "length": direction[level.t]}


def two_runs(size: str, device: torch.device, calls: int, count: int) -> Iterator[dict[str, Any]]:
    """Whether a batch of a large network gives the same bytes twice, as it runs."""
    model = SizedModel(SIZES[size], device, torch.bfloat16)
    first, second = (solver(model, calls)(given(model, count)).images for _ in range(2))
    yield {"model": size, "calls": calls, "batch": count, "same": torch.equal(first, second)}

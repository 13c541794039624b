"""What the host can keep up with: records that are read, scored and encoded a second, and whole runs."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from fcs.bench.gpu_models import SIZES, SizedModel
from fcs.bench.gpu_speed import ended, given, solver
from fcs.core.collate import collate
from fcs.core.records import Batch, Result
from fcs.core.tf32 import tf32
from fcs.engine.encode_results import ResultEncoder
from fcs.engine.preflight import Preflight
from fcs.metrics.judge import Scores
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.shards.input.sources import resolve
from fcs.tasks import Inpaint
from fcs.tasks.base import Task
from fcs.tasks.pipeline import Pipeline

FORMATS = ("png", "jpg")
ELSEWHERE = "another device"
ROUNDS = 3  # of which the least counts: other programs only take time
GRAIN = 3.0  # standard deviation of a photograph's noise, in 8-bit steps


def write_shard(path: Path, pixels: int, count: int, suffix: str) -> Path:
    """A shard of pictures as hard to compress as photographs, the right half to be made."""
    from webdataset import TarWriter

    draw, side = np.random.default_rng(0), (pixels, pixels)
    mask = Image.new("L", side)
    mask.paste(255, (pixels // 2, 0, *side))
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize(side, Image.Resampling.BICUBIC), dtype=np.float32)
            grainy = (smooth + GRAIN * draw.standard_normal(smooth.shape)).clip(0, 255).astype(np.uint8)
            files = {suffix: _file(Image.fromarray(grainy), suffix), "mask.png": _file(mask, "png")}
            writer.write({"__key__": f"{number:06d}", **files})
    return path


def _file(picture: Image.Image, suffix: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg" if suffix == "jpg" else suffix, quality=95)
    return buffer.getvalue()


def ceiling(work: Path, device: torch.device, pixels: int, count: int) -> Iterator[dict[str, Any]]:
    """Records a second of one core with an instant network: read, scored and encoded, in each format.

    On a CPU also without scoring, as where a card scores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    places = [device.type, ELSEWHERE] if device.type == "cpu" else [device.type]
    try:
        for form, scores_on in product(FORMATS, places):
            reads, encodes = _host_seconds(work, device, pixels, count, form, scores_on != ELSEWHERE)
            rate = count / (reads + encodes)
            row = {"format": form, "pixels": pixels, "records_a_second_a_core": rate, "scores_on": scores_on}
            yield {**row, "read_ms": 1e3 * reads / count, "encode_ms": 1e3 * encodes / count}
    finally:
        torch.set_num_threads(threads)


def _host_seconds(
    work: Path, device: torch.device, pixels: int, count: int, form: str, scored: bool
) -> tuple[float, float]:
    """CPU seconds of this thread for reading, and for scoring and encoding: the least of three rounds."""
    (source,) = resolve([str(write_shard(work / f"{form}.tar", pixels, count, form))])
    shape = (3, pixels, pixels)
    encoder = ResultEncoder(Inpaint(), form, False, {}, device=device)

    def read() -> Batch:
        with ShardReader(source, Format(*shape, "none", True)) as reader:
            return collate("host", 0, [reader.record(place) for place in range(count)], shape, 0)

    def encode(batch: Batch) -> None:
        made = Result(batch.images.flip(3), (0.0,) * count, (1,) * count, (True,) * count)
        with nullcontext() if scored else patch("fcs.engine.encode_results.picture_scores", _unscored):
            encoder.rows(batch, made)

    batch = read()
    encode(batch.part(0, 1))  # whatever is loaded at first
    ended(device)
    return _least(read), _least(lambda: encode(batch))


def _unscored(task: Task, batch: Batch, pictures: torch.Tensor, device: torch.device) -> list[Scores]:
    return [{} for _ in pictures]


def _least(do: Callable[[], Any]) -> float:
    return min(_spent(do) for _ in range(ROUNDS))


def _spent(do: Callable[[], Any]) -> float:
    began = time.thread_time()
    do()
    return time.thread_time() - began


def everything(work: Path, size: str, device: torch.device, calls: int, count: int) -> Iterator[dict[str, Any]]:
    """Pictures a second of ``fcs-predict``, reading, scoring and writing as it does, against its network alone."""
    from fcs.tools.cli.predict import main

    batches, model = 4, SizedModel(SIZES[size], device, torch.bfloat16)
    pipeline, pixels = solver(model, calls), SIZES[size].pixels
    batch = given(model, count)
    replace(pipeline, steps=1)(batch)
    shard = write_shard(work / "everything.tar", pixels, batches * count, "png")
    starts: list[float] = []
    sampled = Pipeline.__call__

    def noting(self: Pipeline, *args: Any) -> Result:
        starts.append(time.perf_counter())
        return sampled(self, *args)

    def loaded(run: Preflight) -> Pipeline:
        return pipeline

    settings = {"data.shards": shard, "data.batch_size": count, "trainer.compile": "false", "out": work / "everything"}
    settings |= {"trainer.precision": "bf16", "data.captions": "false"}
    arguments = [f"{key}={value}" for key, value in settings.items()]
    with (
        patch("fcs.engine.predict_module.load_pipeline", loaded),
        patch.object(Pipeline, "__call__", noting),
        tf32(False),
        redirect_stdout(io.StringIO()),
    ):
        code = main(["--config", "emoji_inpaint", *arguments])
    ends = time.perf_counter()
    if code or len(starts) < 2:
        raise RuntimeError(f"fcs-predict ended with {code}")
    each = (ends - starts[1]) / (len(starts) - 1) / count
    alone = min(_wall(lambda: pipeline(batch), device) for _ in range(2)) / count
    row = {"model": size, "calls": calls, "batch": count, "pictures_a_second": 1 / each}
    yield {**row, "network_alone": 1 / alone, "share": alone / each}


def _wall(do: Callable[[], Any], device: torch.device) -> float:
    began = time.perf_counter()
    do()
    ended(device)
    return time.perf_counter() - began

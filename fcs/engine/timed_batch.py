"""How long a run will take: its first batch is sampled once, as the run would, and the time is extrapolated."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle, islice

import torch

from fcs.core.plurals import count_of
from fcs.core.records import Record
from fcs.core.tf32 import allow_tf32
from fcs.engine.oom_retry import OomRetry
from fcs.engine.pipeline_loading import layout_of, record_format
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.trainer import batch_size, compiles, device, limit_threads, planned_calls, takes_tf32
from fcs.shards.input.decode import Format
from fcs.shards.input.shard_reader import ShardReader
from fcs.tasks.pipeline import Pipeline

SHARDS = 8  # that are looked at for records


def timed_batch(run: Preflight, pipeline: Pipeline, ranks: int, total: int | None) -> dict[str, str]:
    """Lines for ``--dry-run``: seconds of a batch, pictures a second, hours of the run.

    On a GPU a batch runs before the one that is timed, since kernels are chosen and compiled at first. Loading,
    reading and writing are not in it: the last two happen beside the network.

    Args:
        run: what to do.
        pipeline: its model goes to the device.
        ranks: processes that will share the run on this machine.
        total: records of the run; None where it is not known.

    Returns:
        Lines by name. Where no record can be read one line says so: what shards contain is no mistake of the command.
    """
    config, where, info = run.config, device(0), ProcessInfo.here()
    limit_threads(replace(info, peers=max(info.peers, ranks)))
    form = record_format(config, pipeline.model)
    layout = layout_of(config, form, 1)
    shape = layout.shape
    allow_tf32(takes_tf32(config))
    pipeline.model.codec_rounds &= config.trainer.tf32 is not False
    pipeline.model.to(where)
    if pipeline.unmeasured:
        pipeline = pipeline.measured(pipeline.lengths())
    size = batch_size(config, pipeline, shape, where, ranks)
    if where.type == "cuda":
        pipeline.model.denoiser.to_channels_last()
    if compiles(config, planned_calls(config, total, size, ranks)):
        pipeline.model.compile_network(config.trainer.cuda_graphs)
    samples = _samples(run, form, size)
    if not samples:
        return {"time": "no batch was timed: no record of the first shards can be read"}
    batch = replace(layout, slots=size).batch("timed", 0, samples).to(where)
    sample = OomRetry(pipeline)
    if where.type == "cuda":
        sample(batch)
    began = time.perf_counter()
    sample(batch)
    seconds = time.perf_counter() - began
    by = "1 process" if ranks == 1 else f"{ranks} processes"
    rate, what = ranks * size / seconds, "crops" if form.native else "pictures"
    card = torch.cuda.get_device_name() if where.type == "cuda" else count_of(torch.get_num_threads(), "CPU thread")
    lines = {"time": f"{seconds:.3g} s a batch of {size} ({card}), {rate:.3g} {what} a second by {by}"}
    return lines | ({} if total is None or form.native else {"in all": f"{total / rate / 3600:.3g} hours"})


def _samples(run: Preflight, form: Format, size: int) -> list[Record]:
    """``size`` samples of one shape from the first shard that has any, the same ones again where it has fewer."""
    for source in run.sources[:SHARDS]:
        with ShardReader(source, form) as reader:
            read = [record for record in map(reader.record, range(min(size, len(reader)))) if record.error is None]
        there = [(sample, sample.image.shape) for one in read for sample in one.samples if sample.image is not None]
        if there:
            return list(islice(cycle(sample for sample, shape in there if shape == there[0][1]), size))
    return []

"""The pipeline against the least that its batches can cost, and against the published loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fcs.core.autocast import AUTOCAST
from fcs.core.tf32 import tf32
from fcs.models import find
from speed import bare
from speed.pipeline import FEW, WALKS, Setting, picture_shape, steady, write_inputs
from speed.timing import Spent, in_turn, median, ratio, spent

CALLS = 4  # of the network in one measurement of a factor
PROBE = 500  # level at which the network is asked there


def device() -> torch.device:
    """Where runs compute."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def loaded(setting: Setting, compiled: bool | None = None, precision: str | None = None) -> bare.Bare:
    """The bare model of a setting, or of one that differs."""
    autocast = AUTOCAST[precision or setting.precision]
    return bare.load(find(setting.model).path, device(), autocast, setting.compile if compiled is None else compiled)


def inputs(setting: Setting, batches: int) -> Path:
    """A shard for so many batches after the first."""
    shard = setting.work / "inputs" / "in.tar"
    return write_inputs(shard, picture_shape(setting.model), setting.batch * (batches + 1))


def pipeline(setting: Setting, calls: int, batches: int) -> Spent:
    """Seconds a batch of fcs-predict, start-up apart."""
    shard = inputs(setting, batches)
    out = setting.work / "run"
    total, counted = steady(setting.arguments(shard, out, calls), out)
    return total / counted


def efficiency(setting: Setting, calls: int, batches: int, repeats: int) -> dict[str, Any]:
    """The least that a batch costs over what it costs in fcs-predict: 1 is nothing lost."""
    model = loaded(setting)
    given = bare.pictures(model, setting.batch)

    def least(count: int = calls, rounds: int = batches) -> Spent:
        with tf32(False):  # as in the run
            return spent(lambda: [bare.least(model, given, count) for _ in range(rounds)]) / rounds

    least(1, 1)  # compiles
    found = in_turn({"least": least, "fcs": lambda: pipeline(setting, calls, batches)}, repeats)
    return {
        "calls": calls,
        "least_seconds_a_batch": median(found["least"]),
        "fcs_seconds_a_batch": median(found["fcs"]),
        "efficiency": ratio(found["least"], found["fcs"]),
        # Threads behind the network count here, though they run on another core: what a single core would reach.
        "efficiency_by_cpu": ratio(found["least"], found["fcs"], "cpu"),
    }


def stages(setting: Setting) -> dict[str, Setting]:
    """The way from the published loop to a setting, a change at a time: batched, in its type, compiled, replayed."""
    made = {"batch": replace(setting, precision="32", compile=False, cuda_graphs=False)}
    if setting.precision != "32":
        made["type"] = replace(setting, compile=False, cuda_graphs=False)
    if setting.compile:
        made["compile"] = replace(setting, cuda_graphs=False)
    if setting.compile and setting.cuda_graphs:
        made["cuda graphs"] = setting
    return made


def against_published(setting: Setting, calls: int, batches: int, repeats: int) -> dict[str, Any]:
    """Records a second of fcs-predict over those of the published loop as published: alone, float32, eager.

    All stages are measured in turn; the factor of each is over the one before. The last is the preset of ``FEW`` calls,
    where they are fewer.
    """
    model = loaded(setting, compiled=False, precision="32")
    given = bare.pictures(model, 1)
    steps, sizes = WALKS[calls]

    def record(one: Setting, count: int) -> Spent:
        return pipeline(one, count, batches) / one.batch

    cells = {"published": lambda: spent(lambda: bare.published(model, given, steps, sizes))}
    for name, one in stages(setting).items():
        cells[name] = partial(record, one, calls)
    if calls > FEW:
        cells[f"{FEW} calls"] = partial(record, setting, FEW)
    found = in_turn(cells, repeats)
    rows = []
    for before, name in itertools.pairwise(found):
        row: dict[str, Any] = {"stage": name, "seconds_a_record": median(found[name])}
        row |= {"factor": ratio(found[before], found[name]), "times": ratio(found["published"], found[name])}
        row["factor_by_cpu"] = ratio(found[before], found[name], "cpu")
        row["times_by_cpu"] = ratio(found["published"], found[name], "cpu")
        rows.append(row)
    return {"calls": calls, "published_seconds_a_record": median(found["published"]), "stages": rows}


def factors(setting: Setting, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds a record and call of the bare network, by batch, type, layout and compilation."""
    half = "bf16" if setting.precision == "32" else setting.precision
    cells = {}
    rows: dict[str, dict[str, Any]] = {}
    for batch, precision, compiled in itertools.product((1, setting.batch), ("32", half), (False, True)):
        if compiled and not setting.compile:
            continue
        for layout in ("contiguous", "channels_last") if not compiled else ("contiguous",):
            name = f"{batch} {precision} {layout} {compiled}"
            rows[name] = {"batch": batch, "precision": precision, "layout": layout, "compiled": compiled}
            cells[name] = _cell(loaded(setting, compiled, precision), batch, layout)
    found = in_turn(cells, repeats + 1)
    for name, times in found.items():
        first, later = found[next(iter(found))][1:], times[1:]  # what is compiled is so in the first round
        rows[name]["ms_a_record_and_call"] = 1e3 * median(later)
        rows[name]["cpu_ms_a_record_and_call"] = 1e3 * median(later, "cpu")
        rows[name] |= {"times": ratio(first, later), "times_by_cpu": ratio(first, later, "cpu")}
    return list(rows.values())


def _cell(model: bare.Bare, batch: int, layout: str) -> Callable[[], Spent]:
    if layout == "channels_last":
        model.unet = model.unet.to(memory_format=torch.channels_last)
    side = bare.latent_side(model)
    x = torch.randn(batch, model.vae.config.latent_channels, side, side, device=model.device)
    t, cond = torch.full((batch,), float(PROBE), device=model.device), model.cond.expand(batch, -1, -1).contiguous()

    @torch.no_grad()
    def ask() -> None:
        for _ in range(CALLS):
            model.predict(x, t, cond)
        bare.ended(model.device)

    return lambda: spent(ask) / (CALLS * batch)


def table(found: dict[str, Any]) -> str:
    """For people: what of ``efficiency``, ``published`` and ``factors`` is there."""
    lines = [
        "{calls} calls: efficiency {efficiency:.3f} ({efficiency_by_cpu:.3f} of one core), {fcs_seconds_a_batch:.2f} s "
        "a batch, at least {least_seconds_a_batch:.2f} s".format(**row)
        for row in found.get("efficiency", [])
    ]
    if "published" in found:
        line = "{calls} calls, {stage:11s}: {times:.2f} times the published loop ({times_by_cpu:.2f} by CPU time), "
        line += "{factor:.2f} times the last ({factor_by_cpu:.2f})"
        lines += [line.format(calls=found["published"]["calls"], **row) for row in found["published"]["stages"]]
    line = "batch {batch:3d}  {precision:4s}  {layout:13s}  {how:8s} {ms:7.2f} ms  {times:5.2f} times "
    line += "({times_by_cpu:.2f} by CPU time)"
    for row in found.get("factors", []):
        how = "compiled" if row["compiled"] else "eager"
        lines.append(line.format(how=how, ms=row["ms_a_record_and_call"], **row))
    return "\n".join(lines)

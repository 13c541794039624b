"""Sampling for the Python calls: a batch in pieces, with a bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import torch

from fcs.core.records import Batch, Result
from fcs.core.tf32 import tf32_in_parts
from fcs.engine.oom_retry import joined
from fcs.engine.python_progress import bar_of_calls
from fcs.tasks.pipeline import Pipeline
from fcs.tasks.residual_trace import Preview


def sample_batch(pipeline: Pipeline, batch: Batch, size: int, progress: bool, preview: Preview | None = None) -> Result:
    """Sample a batch, ``size`` slots at a time.

    Args:
        pipeline: measured first where 16 bits need it.
        batch: on any device.
        size: slots of a piece; the last one is padded, so that all are sampled in one shape.
        progress: whether network calls are counted on a bar.
        preview: told of x_0 at each level, without padding.

    Returns:
        The result of the whole batch.
    """
    with tf32_in_parts():  # torch lets a GPU's convolutions round, which the paper's difference does not survive
        if pipeline.unmeasured:
            pipeline = pipeline.measured(pipeline.lengths())
        pieces = [batch.part(first, first + size) for first in range(0, len(batch.records), size)]
        each = pipeline.task.calls(pipeline.sampler, pipeline.steps)
        results = []
        with bar_of_calls(each * len(pieces), progress) as bar:
            for place, piece in enumerate(pieces):
                padded, count = _padded(piece, size).to(pipeline.model.device), len(piece.records)
                results.append(pipeline(padded, _counted(bar, count, place), _of_records(preview, count)))
    own = [_without_padding(made, len(piece.records)) for made, piece in zip(results, pieces, strict=True)]
    return reduce(joined, own)


def _of_records(preview: Preview | None, count: int) -> Preview | None:
    """The same without the slots beyond the first ``count``."""
    return None if preview is None else lambda level, x0, residuals: preview(level, x0[:count], residuals[:count])


def _counted(bar: Any, pictures: int, piece: int) -> Callable[[], None]:
    bar.set_postfix({"pictures": pictures, "batch": piece + 1}, refresh=False)
    return lambda: bar.update() and None


def _padded(batch: Batch, size: int) -> Batch:
    """The batch with empty slots up to ``size``."""
    more = size - len(batch.records)
    if not more:
        return batch
    images = torch.cat([batch.images, batch.images.new_zeros(more, *batch.images.shape[1:])])
    masks = torch.cat([batch.masks, batch.masks.new_full((more, *batch.masks.shape[1:]), 255)])
    return replace(
        batch,
        records=batch.records + (None,) * more,
        images=images,
        masks=masks,
        prompts=batch.prompts + ("",) * more,
        seeds=batch.seeds + (0,) * more,
    )


def _without_padding(result: Result, count: int) -> Result:
    """The result of the first ``count`` slots."""
    return replace(
        result,
        images=result.images[:count],
        residuals=result.residuals[:count],
        calls=result.calls[:count],
        finite=result.finite[:count],
        further={name: made[:count] for name, made in result.further.items()},
        scores=result.scores[:count],
        residual_traces=result.residual_traces[:count],
        truncated=tuple(slot for slot in result.truncated if slot < count),
    )

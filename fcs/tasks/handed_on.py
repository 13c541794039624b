"""Records whose result is the given picture, because nothing of it is to be generated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fcs.core.records import Batch, Result


def as_given(batch: Batch) -> Result:
    """The given pictures as results: no calls, no residual."""
    count = len(batch.records)
    return Result(batch.images.cpu(), (0.0,) * count, (0,) * count, (True,) * count)


def with_given(result: Result, batch: Batch, slots: Collection[int]) -> Result:
    """The result with the given picture in these slots, so that it does not depend on what else the batch holds."""
    if not slots:
        return result
    images = result.images.clone()
    images[list(slots)] = batch.images[list(slots)].cpu()
    traces = tuple(() if slot in slots else trace for slot, trace in enumerate(result.residual_traces))
    return replace(
        result,
        images=images,
        residuals=tuple(0.0 if slot in slots else value for slot, value in enumerate(result.residuals)),
        calls=tuple(0 if slot in slots else value for slot, value in enumerate(result.calls)),
        finite=tuple(slot in slots or value for slot, value in enumerate(result.finite)),
        residual_traces=traces,
        redone=tuple(slot for slot in result.redone if slot not in slots),
        truncated=tuple(slot for slot in result.truncated if slot not in slots),
    )

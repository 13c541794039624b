"""Records whose result is the given picture, because nothing of it is to be generated."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fcs.core.records import Batch, Result
from fcs.tasks.half_precision import merged


def as_given(batch: Batch) -> Result:
    """The given pictures as results: no calls, no residual."""
    count = len(batch.records)
    return Result(batch.on_host.images, (0.0,) * count, (0,) * count, (True,) * count)


def with_given(result: Result, batch: Batch, slots: Collection[int]) -> Result:
    """The result with the given picture in these slots, so that it does not depend on what else the batch holds."""
    if not slots:
        return result
    plain = as_given(batch)
    given = replace(
        result,
        images=plain.images,
        residuals=plain.residuals,
        calls=plain.calls,
        finite=plain.finite,
        residual_traces=((),) * len(result.residual_traces),
    )
    return replace(
        merged(result, given, sorted(slots)),
        redone=tuple(slot for slot in result.redone if slot not in slots),
        truncated=tuple(slot for slot in result.truncated if slot not in slots),
    )

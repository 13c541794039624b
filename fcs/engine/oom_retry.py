"""A batch that does not fit in memory: halved until it does."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace

import torch

from fcs.core.errors import first_line
from fcs.core.memory import is_out_of_memory
from fcs.core.records import Batch, Result
from fcs.tasks.pipeline import Pipeline

log = logging.getLogger("fcs")


class OomRetry:
    """Samples a batch whole, or in pieces of the largest size that has fitted so far.

    Pieces have another shape than the batch, so kernels may round otherwise: results are no longer byte for byte those
    of a run in which it fitted. A record that does not fit even alone becomes an ``out_of_memory`` failure.

    Args:
        pipeline: samples a batch.

    Attributes:
        fitting_size: records that are sampled at once; None while whole batches fit.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.fitting_size: int | None = None

    def __call__(self, batch: Batch, watch: Callable[[], None] = lambda: None) -> Result:
        """The batch's result. ``watch`` as in ``Pipeline``."""
        size = len(batch.records)
        if not any(batch.valid):
            return self._blank(batch)
        if self.fitting_size is None or size <= self.fitting_size:
            try:
                return self.pipeline(batch, watch)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            # The error must be gone first: its frames hold tensors.
            _free()
            if size == 1:
                return replace(self._blank(batch), errors={0: f"out_of_memory: {reason}"})
            self.fitting_size = size // 2
            log.warning("a batch of %d does not fit in memory: continuing with %d; bytes may differ", size, size // 2)
        middle = size // 2
        return joined(self(batch.part(0, middle), watch), self(batch.part(middle, size), watch))

    def _blank(self, batch: Batch) -> Result:
        count = len(batch.records)
        images = torch.zeros(count, *self.pipeline.model.picture_shape, dtype=torch.uint8)
        return Result(images, (0.0,) * count, (0,) * count, (True,) * count)


def joined(first: Result, second: Result) -> Result:
    """The results of two parts of a batch, one behind the other."""
    count, more = len(first.images), len(second.images)
    names = {**first.further, **second.further}
    blank = torch.zeros_like
    further = {
        name: torch.cat([first.further.get(name, blank(first.images)), second.further.get(name, blank(second.images))])
        for name in names
    }
    scored = bool(first.scores or second.scores)
    return Result(
        torch.cat([first.images, second.images]),
        first.residuals + second.residuals,
        first.calls + second.calls,
        first.finite + second.finite,
        (count * first.seconds + more * second.seconds) / (count + more),
        further,
        ((first.scores or ({},) * count) + (second.scores or ({},) * more)) if scored else (),
        first.errors | {count + slot: text for slot, text in second.errors.items()},
        (first.residual_traces or ((),) * count) + (second.residual_traces or ((),) * more),
        redone=first.redone + tuple(count + slot for slot in second.redone),
        truncated=first.truncated + tuple(count + slot for slot in second.truncated),
    )


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

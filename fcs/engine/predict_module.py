"""The LightningModule: glue between batches, the solver and what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import lightning as L

from fcs.core.memory import held
from fcs.core.records import Batch, Result
from fcs.engine.oom_retry import OomRetry
from fcs.engine.signals import Stop
from fcs.tasks.pipeline import Pipeline


class PredictModule(L.LightningModule):
    """Samples each batch of a predict run.

    Args:
        solver: batch to result.
        deliver: takes each batch with its result.
        stop: asked between batches and between denoiser calls.
    """

    def __init__(self, solver: Pipeline, deliver: Callable[[Batch, Result | None], None], stop: Stop) -> None:
        super().__init__()
        self.model = solver.model
        self.solve = OomRetry(solver)
        self.deliver = deliver
        self.stop = stop

    def on_predict_start(self) -> None:
        # Lightning has put its own handlers in place by now: they swallow SIGTERM and save checkpoints on SIGUSR1.
        self.stop.install()

    def predict_step(self, batch: Batch, batch_idx: int) -> int:
        """Sample one batch and hand it over; returns its slots, since Lightning warns of nothing returned."""
        self.stop.check()
        if all(record is None for record in batch.records):
            return len(batch.records)  # nothing was ready to be sampled
        try:
            result = self._measured(batch) if any(batch.valid) else None
        except StopIteration as error:  # Lightning would take it for the end of the data
            raise RuntimeError("a sampler or a model raised StopIteration") from error
        self.deliver(batch, result)
        return len(batch.records)

    def _measured(self, batch: Batch) -> Result:
        """The batch's result, with the most memory that was held, where the machine tells."""
        if self.device.type == "cuda":
            held(self.device, peak=False)  # the highest begins anew; on a CPU that would be a file to write
        result = self.solve(batch, self.stop.watch)
        try:
            return replace(result, memory=held(self.device, peak=True))
        except OSError:
            return result

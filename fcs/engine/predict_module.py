"""The LightningModule: from batches to results."""

from __future__ import annotations

from dataclasses import replace

import lightning as L

from fcs.core.errors import UsageError
from fcs.core.memory import held
from fcs.core.records import Batch, Result
from fcs.core.tf32 import allow_tf32
from fcs.engine.graceful_stop import stop_of
from fcs.engine.oom_retry import OomRetry
from fcs.engine.pipeline_loading import load_judge, load_pipeline, measured
from fcs.engine.preflight import Preflight
from fcs.engine.record_sizes import bucket_models
from fcs.engine.trainer import batch_size, compiles, planned_calls, takes_tf32
from fcs.metrics.judge import Judge
from fcs.shards.ledger.repin import pin_anew
from fcs.tasks.pipeline import Pipeline


class PredictModule(L.LightningModule):
    """Samples each batch of a run.

    The model is loaded in ``setup``, in each rank on its own. The Trainer must have ``inference_mode=False``, since
    constraints need gradients, and no precision of its own: ``trainer.precision`` in the run's configuration says it.

    Args:
        run: from ``configure``.

    Attributes:
        pipeline: model, task and sampler; from ``setup`` on, like the following.
        judge: the networks of the metrics, on the CPU; None where the run has none.
        batch_size: slots of a batch.
        retry: samples a batch of pictures of one size (height, width), in pieces where it does not fit in memory.
    """

    pipeline: Pipeline
    judge: Judge | None
    batch_size: int
    retry: dict[tuple[int, int], OomRetry]

    def __init__(self, run: Preflight) -> None:
        super().__init__()
        self.run = run

    def setup(self, stage: str) -> None:
        """Load the model, pin the run in OUT, find the batch size, compile.

        Raises:
            UsageError: the model does not fit the configuration, or OUT holds another run; nothing was written.
            StorageError: OUT cannot be written.
        """
        if self.trainer.predict_loop.inference_mode:
            raise UsageError.of("Trainer(inference_mode)", True, "inference_mode=False; constraints need gradients")
        if self.trainer.precision != "32-true":
            expected = "none; the run's own trainer.precision says it"
            raise UsageError.of("Trainer(precision)", self.trainer.precision, expected)
        config, device = self.run.config, self.trainer.strategy.root_device
        pipeline = load_pipeline(self.run)
        self.judge = load_judge(self.run, pipeline.model)
        pin_anew(self.run.out, self.run.pinned)
        allow_tf32(takes_tf32(config))
        pipeline.model.codec_rounds &= config.trainer.tf32 is not False
        self.pipeline = measured(self.run.out, pipeline, device)
        shape = config.task.input_shape(pipeline.model)
        peers = len(getattr(self.trainer.strategy, "parallel_devices", None) or [device])
        self.batch_size = batch_size(config, self.pipeline, shape, device, peers)
        if device.type == "cuda":
            pipeline.model.denoiser.to_channels_last()
        self.retry = {shape[1:]: OomRetry(self.pipeline)}
        if config.data.resize == "bucket":
            models = bucket_models(pipeline.model, config.task)
            self.retry = {size: OomRetry(replace(self.pipeline, model=model)) for size, model in models.items()}
        self.model = pipeline.model  # Lightning moves it to the device

    @property
    def fitting_size(self) -> int | None:
        """Records that are sampled at once; None while whole batches fit."""
        return min((one.fitting_size for one in self.retry.values() if one.fitting_size), default=None)

    def on_predict_start(self) -> None:
        """Compile, after what is measured in other shapes and types, each of which would be a graph."""
        self._stop, config = stop_of(self.trainer), self.run.config
        totals = getattr(self.trainer.datamodule, "totals", None)
        left = None if totals is None or totals.total is None else totals.total - totals.ok
        if compiles(config, planned_calls(config, left, self.batch_size, self.trainer.world_size)):
            self.pipeline.model.compile_network(config.trainer.cuda_graphs)

    def predict_step(self, batch: Batch, batch_idx: int) -> Result:
        """Sample one batch; records that failed, and padding, get blank slots.

        Raises:
            Interrupted: a signal came and its grace is over.
        """
        if self.device.type == "cuda":
            held(self.device, peak=False)  # the highest begins anew; on a CPU that would be a file to write
        try:
            result = self.retry[batch.images.shape[2], batch.images.shape[3]](batch, self._stop.watch)
        except StopIteration as error:  # Lightning would take it for the end of the data
            raise RuntimeError("a sampler or a model raised StopIteration") from error
        try:
            return replace(result, memory=held(self.device, peak=True))
        except OSError:  # not a Linux machine
            return result

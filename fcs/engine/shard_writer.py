"""The prediction writer: results become rows and shards, behind the network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

from fcs.core.errors import UsageError
from fcs.core.records import Batch, Result
from fcs.engine.async_writer import AsyncWriter, PreviewWriter
from fcs.engine.cpu_threads import writers
from fcs.engine.encode_results import ResultEncoder
from fcs.engine.native_results import NativeEncoder, RowJoiner
from fcs.engine.predict_module import PredictModule
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.progress import Progress, log_progress
from fcs.engine.record_sizes import crops_of
from fcs.shards.ledger.result_rows import Row

if TYPE_CHECKING:
    from fcs.engine.data_module import ShardDataModule

# Of Lightning's, for loaders without its sampler. A batch here says itself which records it holds.
NO_INDICES = "Couldn't infer the batch indices fetched from your dataloader"


def is_empty(batch: Batch) -> bool:
    """Whether a batch holds no record at all: nothing was free when it was asked for."""
    return not any(record is not None for record in batch.records)


class ShardWriter(BasePredictionWriter):
    """Scores, encodes and writes each batch as soon as it is sampled, and commits shards that are whole.

    Writing happens in threads; what goes wrong there is raised at a later batch, or at the end. Progress is shown on
    standard error unless the Trainer has a progress bar, and goes to the Trainer's loggers in the first process.

    Args:
        run: from ``configure``.
        notes: whether to say at the end which of this process's records were read perhaps otherwise than meant.

    Raises:
        StorageError: OUT cannot be written.
        TooManyFailures: more records failed than ``data.max_failed`` allows.
    """

    def __init__(self, run: Preflight, notes: bool = True) -> None:
        super().__init__("batch")
        self.run, self.notes = run, notes
        self._writer: AsyncWriter | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        warnings.filterwarnings("ignore", message=NO_INDICES)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data, config = trainer.datamodule, self.run.config
        assert isinstance(pl_module, PredictModule)
        if data is None or not hasattr(data, "ledger"):
            raise UsageError.of("Trainer.predict(datamodule)", data, "ShardDataModule(run)")
        totals, facts = data.totals, {"model": self.run.found.label, "fingerprint": self.run.pinned["fingerprint"]}
        judge = pl_module.judge.to(pl_module.device) if pl_module.judge else None
        finished, shown = totals.ok + totals.failed, trainer.progress_bar_callback is None
        progress = Progress(totals.total, finished, shown=shown, failed=totals.failed)
        crops = crops_of(config)
        kind = partial(NativeEncoder, blend=crops.blend) if crops else ResultEncoder
        self._writer = AsyncWriter(
            kind(config.task, config.format, config.copy_inputs, facts, judge, config.png_level, pl_module.device),
            RowJoiner(partial(_finish, data, pl_module), pl_module.batch_size),
            progress,
            max_failed=config.data.max_failed,
            failed_before=totals.failed,
            failed_elsewhere=data.ledger.failed_elsewhere,
            previews=self._previews(pl_module.batch_size, totals.total),
            notes=self.notes,
            threads=writers(pl_module.device.type == "cuda", ProcessInfo.here()),
            log=partial(log_progress, trainer.loggers) if trainer.loggers and data.rank == 0 else None,
        )

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Result,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Hand a batch over; at an empty one wait until all that was handed over is written."""
        assert self._writer is not None
        if is_empty(batch):
            self._writer.flush()
        else:
            self._writer(batch, prediction if any(batch.valid) else None)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close(trainer)

    def _close(self, trainer: L.Trainer) -> None:
        """Write what was sampled, then give back what was not."""
        writer, self._writer = self._writer, None
        data: Any = trainer.datamodule
        try:
            if writer is not None:
                writer.close()
        finally:
            if data is not None:
                data.close()

    def _previews(self, batch_size: int, total: int | None) -> PreviewWriter | None:
        """Contact sheets at even distances, so that the run makes at most ``previews.max``."""
        most = self.run.config.previews.max
        if most == 0:
            return None
        batches = math.ceil((total or 100 * batch_size * most) / batch_size)
        return PreviewWriter(self.run.out, math.ceil(batches / most) or 1, most)


def _finish(data: ShardDataModule, module: PredictModule, shard: str, number: int, rows: list[Row]) -> None:
    """Write a batch's rows, and say with how many slots batches are sampled."""
    data.ledger.stats.slots = module.fitting_size or module.batch_size
    data.ledger.finish(data.shard_numbers[shard], number, rows)

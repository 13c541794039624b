"""The LightningDataModule: a run's batches, each to one of however many processes work on it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import lightning as L
import torch

from fcs import __version__
from fcs.core.errors import UsageError
from fcs.core.records import Batch
from fcs.engine.first_records import failing_first_records
from fcs.engine.graceful_stop import stop_of
from fcs.engine.pipeline_loading import has_reference, layout_of, record_format
from fcs.engine.predict_module import PredictModule
from fcs.engine.preflight import Preflight
from fcs.engine.process_info import ProcessInfo
from fcs.engine.read_ahead import ReadAhead
from fcs.engine.shard_writer import ShardWriter, is_empty
from fcs.metrics import image_scores
from fcs.shards.input.open_shards import OpenShards
from fcs.shards.input.sources import TABLE, Source, local_path
from fcs.shards.ledger.batch_task import BatchTask
from fcs.shards.ledger.ledger import Ledger
from fcs.shards.ledger.totals import Totals

log = logging.getLogger("fcs")
POLL, LONGEST = 1.0, 30.0  # seconds between two looks at what other processes have in hand
POLLS = 16  # looks a second of all processes together, as far as LONGEST allows
COUNTED = 64  # no more shards than this are opened beforehand, only to show a total
PACKAGES = ("torch", "lightning", "diffusers", "transformers", "pillow")


@dataclass(frozen=True)
class SharedBatches:
    """Batches that no other process has, until all shards are committed; then the iterator ends.

    Where nothing is free for the moment it yields empty batches (``is_empty``). It cannot wait for the batches that it
    gave out itself, since Lightning asks for a batch ahead before it runs the one that it has. For those of other
    processes it waits, while this process has nothing in hand.

    Attributes:
        ledger: says what is free.
        read: the batches of some tasks, decoded ahead of their use.
        empty: what is yielded where nothing is free.
        pause: seconds between two looks at what other processes have in hand.
    """

    ledger: Ledger
    read: Callable[[Iterator[BatchTask | None]], Iterable[Batch]]
    empty: Batch
    pause: float

    def __iter__(self) -> Iterator[Batch]:
        while not self.ledger.complete():
            found = False
            for batch in self.read(self.ledger.tasks()):
                found = found or not is_empty(batch)
                yield batch
            while not self.ledger.idle:  # its results are being written
                yield self.empty
            if not found and not self.ledger.complete():
                yield from self._wait()

    def _wait(self) -> Iterator[Batch]:
        """A pause in pieces, so that between them a signal is noticed."""
        until = time.monotonic() + self.pause
        while time.monotonic() < until:
            yield self.empty
            time.sleep(min(POLL, self.pause))


class ShardDataModule(L.LightningDataModule):
    """Serves the batches of a run that nobody has done or has in hand.

    Which rank gets which batch is decided by the ledger in OUT and not by a sampler, so the Trainer must have
    ``use_distributed_sampler=False``. Needs ``PredictModule`` and ``ShardWriter`` of the same run beside it.

    Args:
        run: from ``configure``.

    Attributes:
        shard_numbers: the run's shards by STEM, in their pinned order.
        ledger: what is taken, done and committed; there once Lightning has asked for the batches.
        totals: records that were done before, and how many there are.
        rank: of this process over all jobs of an array.
    """

    ledger: Ledger
    totals: Totals
    rank: int

    def __init__(self, run: Preflight) -> None:
        super().__init__()
        self.run = run
        self.shard_numbers = {source.stem: number for number, source in enumerate(run.sources)}
        self._open: list[Ledger | OpenShards] = []

    def prepare_data(self) -> None:
        """With ``data.retry_failed``: open the shards with failed records again."""
        self.run.retried()

    def predict_dataloader(self) -> SharedBatches:
        """The batches for this process.

        Raises:
            UsageError: the Trainer has another module, or nothing that writes results: the run would never end.
            StorageError: OUT or an input cannot be read.
        """
        trainer, run = self.trainer, self.run
        assert trainer is not None
        module = trainer.lightning_module
        if not isinstance(module, PredictModule):
            raise UsageError.of("Trainer.predict(model)", type(module).__name__, "PredictModule(run)")
        if not any(isinstance(callback, ShardWriter) for callback in trainer.callbacks):
            raise UsageError.of("Trainer(callbacks)", "none that writes", "ShardWriter(run) among them")
        config, form = run.config, record_format(run.config, module.pipeline.model)
        # Each worker may be in a shard of its own, and the ledger opens the next.
        shards = OpenShards(run.sources, form, config.data.workers + 8)
        self.rank, world = ProcessInfo.here().overall(trainer.global_rank, trainer.world_size)
        self.ledger = self._ledger(module, shards, world)
        self._open = [self.ledger, shards]
        self.ledger.load_commits()  # what it takes back must not look complete below
        check = stop_of(trainer).check
        self.totals = self._count(shards, check)
        if self.rank == 0 and not self.totals.ok + self.totals.failed:
            for line in failing_first_records(run.sources, form):
                log.warning(line)
        layout = layout_of(config, form, module.batch_size)

        def read(tasks: Iterator[BatchTask | None]) -> Iterator[Batch]:
            return layout(ReadAhead(tasks, shards, module.batch_size, config.data.workers, check))

        pause = min(LONGEST, max(POLL, world / POLLS))
        return SharedBatches(self.ledger, read, layout.empty, pause)

    def teardown(self, stage: str) -> None:
        self.close()

    def on_exception(self, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is in hand and close the input."""
        opened, self._open = self._open, []
        for item in opened:
            item.close()

    def _ledger(self, module: PredictModule, shards: OpenShards, world: int) -> Ledger:
        run, judge = self.run, module.judge
        card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return Ledger(
            run.out,
            run.sources,
            module.batch_size,
            shards.rows,
            limit=run.config.data.limit,
            rank=self.rank,
            world=world,
            fingerprint=run.pinned["fingerprint"],
            watched=run.config.data.max_failed is not None,
            info={"versions": {"fcs": __version__, **{name: version(name) for name in PACKAGES}}, "card": card},
            scores=(*image_scores.NAMES, *run.config.task.scored, *(judge.scores if judge else ())),
            features=judge.names(has_reference(module.pipeline)) if judge else (),
        )

    def _count(self, shards: OpenShards, check: Callable[[], None]) -> Totals:
        """Records done and in all; a few local shards are opened for it."""
        totals = self.ledger.totals()
        sources = self.run.sources
        if totals.total is not None or len(sources) > COUNTED or not all(map(_is_local, sources)):
            return totals
        while self.ledger.record_counts() is None:
            shards.wait()
            check()
        return self.ledger.totals()


def _is_local(source: Source) -> bool:
    """Whether a shard can be counted without copying it first."""
    return local_path(source.url) is not None and source.url.lower().endswith((".tar", TABLE))

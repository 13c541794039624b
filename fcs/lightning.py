"""A run in anybody's Lightning Trainer.

``configure`` reads what ``fcs-predict`` reads; three classes made from it do what the command does, with the same
bytes in OUT, under the Trainer's own strategy, callbacks and loggers:

    run = configure("digits_inpaint", "out=runs/x")
    trainer = L.Trainer(
        devices=2,
        strategy="ddp",
        callbacks=[ShardWriter(run)],
        logger=False,
        inference_mode=False,  # constraints need gradients
        use_distributed_sampler=False,  # the ledger in OUT says who does what
    )
    trainer.predict(PredictModule(run), datamodule=ShardDataModule(run), return_predictions=False)

``PredictModule.predict_step`` returns a ``Result``. Which records are done stands in OUT alone: kill any process at any
time, start the same script again, with any number of devices, and each record is there once. Signals are handled only
where ``GracefulStop`` is among the callbacks. ``IndependentStrategy`` starts ranks that do not depend on each other.
"""

from fcs.engine.data_module import ShardDataModule, SharedBatches
from fcs.engine.graceful_stop import GracefulStop
from fcs.engine.predict_module import PredictModule
from fcs.engine.preflight import Preflight, configure
from fcs.engine.shard_writer import ShardWriter, is_empty
from fcs.engine.strategies import IndependentStrategy

__all__ = [
    "GracefulStop",
    "IndependentStrategy",
    "PredictModule",
    "Preflight",
    "ShardDataModule",
    "ShardWriter",
    "SharedBatches",
    "configure",
    "is_empty",
]

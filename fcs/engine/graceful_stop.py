"""A Lightning callback that ends a run on a signal, without losing what is done."""

from __future__ import annotations

from typing import Any

import lightning as L

from fcs.engine.signals import Stop


class GracefulStop(L.Callback):
    """On SIGTERM, SIGINT or SIGUSR1 the current batch may end within the grace; then ``Interrupted`` is raised.

    Without this callback nothing here handles signals: Lightning ignores SIGTERM while it predicts.

    Args:
        grace: seconds that the current batch may still take; then it is cut at the next call of the denoiser.
        stop: one that handles signals already, as that of ``fcs-predict``; ``grace`` is its own then.
    """

    def __init__(self, grace: float = 20.0, stop: Stop | None = None) -> None:
        self.stop = Stop(grace) if stop is None else stop

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Lightning has put its own handlers in place by now, and gives back at the end what was there before them.
        self.stop.install()

    def on_predict_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.stop.check()


def stop_of(trainer: L.Trainer) -> Stop:
    """That of the Trainer's ``GracefulStop``; one that never stops where there is none."""
    return next((callback.stop for callback in trainer.callbacks if isinstance(callback, GracefulStop)), Stop())

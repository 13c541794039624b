"""What happens between the steps of a training: its clock, the mean of its weights, its losses."""

from __future__ import annotations

import signal
import sys
import threading
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from training.plan import Budget

REPORTED = 50  # steps that a line of losses is the mean of
Module = TypeVar("Module", bound=nn.Module)


class Clock(Callback):
    """Training time over all starts; ends the training with its budget, or after the step in which SIGTERM came.

    Rank 0 decides for all, so that every rank ends at the same step.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.seconds = 0.0
        self.step = 0
        self.interrupted = False
        self._asked = threading.Event()

    @property
    def progress(self) -> float:
        """The share of the budget used, 0 to 1."""
        return self.budget.progress(self.seconds, self.step)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock and listen for SIGTERM."""
        # Lightning's own handler stops ranks at different steps; it puts the handler before ours back at the end.
        signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        self._began = time.monotonic() - self.seconds
        trainer.should_stop = self.progress >= 1

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        """Decide whether this was the last step."""
        self.step = trainer.global_step
        own = (time.monotonic() - self._began, self._asked.is_set())
        self.seconds, self.interrupted = trainer.strategy.broadcast(own)
        trainer.should_stop = self.interrupted or self.progress >= 1

    def state_dict(self) -> dict[str, Any]:
        """Time and steps so far."""
        return {"seconds": self.seconds, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.seconds, self.step = state_dict["seconds"], state_dict["step"]


class Average(Callback, Generic[Module]):
    """The exponential mean of a module's weights, whose decay grows to ``decay`` in the first steps.

    Lightning's WeightAveraging copies the whole LightningModule instead, with the data that its loss draws from.
    """

    def __init__(self, module: Module, decay: float) -> None:
        self.module = deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        """Move the mean towards the weights."""
        step = trainer.global_step
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = list(pl_module.module.parameters())
        torch._foreach_lerp_(list(self.module.parameters()), weights, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """The mean's weights."""
        return dict(self.module.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.module.load_state_dict(state_dict)


class History(Callback):
    """Mean losses every 50 steps, kept and written to stderr; and where in its budget the training is."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.rows: list[dict[str, float]] = []
        self._recent: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: dict[str, Any], *_: object
    ) -> None:
        """Keep the losses; report every 50 steps."""
        self._recent.append({name.strip("_"): value for name, value in outputs["losses"].items()})
        if trainer.global_step % REPORTED == 0:
            self._report(trainer)

    def _report(self, trainer: lightning.Trainer) -> None:
        recent, self._recent = self._recent, []
        row = {name: round(torch.stack([losses[name] for losses in recent]).mean().item(), 5) for name in recent[0]}
        clock = self.clock
        self.rows.append({"step": clock.step, "seconds": round(clock.seconds, 1), **row})
        if trainer.is_global_zero:
            text = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
            head = f"{self.name}  step {clock.step}  {clock.seconds:.0f} s  {clock.progress:.0%}"
            print(f"{head}  {text}", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self.rows = state_dict["rows"]


class Checkpoints(Callback):
    """Writes a checkpoint beside and renames it, every so many seconds and at the end.

    A kill leaves the last whole one.
    Must be the last callback, so that a checkpoint has what the others did in its step.
    """

    def __init__(self, path: Path, seconds: float, clock: Clock) -> None:
        self.path, self.seconds, self.clock = path, seconds, clock
        self._next = seconds

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count from here."""
        self._next = self.clock.seconds + self.seconds

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        """Write a checkpoint if it is time; all ranks take part."""
        if trainer.should_stop or self.clock.seconds >= self._next:
            part = self.path.with_suffix(".part")
            trainer.save_checkpoint(part, weights_only=False)
            if trainer.is_global_zero:
                part.replace(self.path)
            self._next = self.clock.seconds + self.seconds

"""The recipe: a module, a loss that draws its own batches, and ``lightning.Trainer.fit`` around them."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.callbacks import Average, Checkpoints, Clock, History, Module
from training.interruption import INTERRUPTED
from training.plan import Plan, Setting

Losses = dict[str, Tensor]  # those whose name begins with _ are only reported
Loss = Callable[[torch.Generator], Losses]


@dataclass
class State:
    """A training so far; ``seconds`` counts over all starts."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Steps:
    """The batches that Lightning iterates over: none in truth, for a step's data come from its number."""

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(0)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: says that an epoch can be resumed anywhere."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing."""


class Recipe(lightning.LightningModule):
    """A module that learns from the sum of its losses. What is random comes from (seed, step, rank)."""

    def __init__(self, module: nn.Module, loss: Loss, setting: Setting, clock: Clock) -> None:
        super().__init__()
        self.module, self.loss, self.setting, self.clock = module, loss, setting, clock

    def training_step(self, batch: int, batch_idx: int) -> dict[str, Any]:
        """One batch, drawn by the loss."""
        number = (self.setting.plan.seed * 1_000_003 + self.global_step) * self.trainer.world_size + self.global_rank
        torch.manual_seed(number)  # dropout
        losses = self.loss(torch.Generator().manual_seed(number))
        total = torch.stack([value for name, value in losses.items() if not name.startswith("_")]).sum()
        return {"loss": total, "losses": {name: value.detach() for name, value in losses.items()}}

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, its rate by the share of the budget."""
        setting = self.setting
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(
            weights, lr=setting.rate.highest, betas=setting.betas, weight_decay=setting.weight_decay
        )

        def factor(step: int) -> float:
            return setting.rate.factor(step, self.clock.progress)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(module: Module, loss: Loss, setting: Setting) -> tuple[Module, State]:
    """Trains a module; returns the mean of its weights and what was seen.

    Writes a checkpoint to ``FOLDER/NAME.ckpt`` by time, and goes on from it. SIGTERM ends the step, writes the
    checkpoint and exits with 75. Only rank 0 returns.
    """
    plan = setting.plan
    plan.folder.mkdir(parents=True, exist_ok=True)
    path = plan.folder / f"{setting.name}.ckpt"
    clock = Clock(plan.budget)
    average, history = Average(module, setting.average), History(setting.name, clock)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    surroundings = dict(os.environ)
    checkpoints = Checkpoints(path, plan.checkpoint_seconds, clock)
    trainer = new_trainer(plan, [clock, average, history, checkpoints])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning 2.6 with torch 2.13
        found = path if path.exists() else None
        trainer.fit(Recipe(module.train(), loss, setting, clock), Steps(), ckpt_path=found, weights_only=True)
    leave_ranks(trainer, surroundings)
    if clock.interrupted:
        sys.exit(INTERRUPTED)
    return average.module, State(clock.step, clock.seconds, history.rows)


def new_trainer(plan: Plan, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    """Lightning's trainer on the plan's device, with its own ddp where there are several ranks."""
    return lightning.Trainer(
        accelerator=plan.device if plan.device == "cpu" else "gpu",
        devices=plan.ranks,
        strategy="ddp" if plan.ranks > 1 else "auto",
        precision="bf16-mixed" if plan.precision == "bf16" else "32-true",
        max_epochs=1,
        gradient_clip_val=1.0,
        callbacks=callbacks,
        default_root_dir=plan.folder,
        logger=False,
        enable_checkpointing=False,  # ours, by training time
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def leave_ranks(trainer: lightning.Trainer, surroundings: dict[str, str]) -> None:
    """Ends all ranks but the first, and takes back what Lightning told them through the environment."""
    if trainer.world_size == 1:
        return
    dist.barrier()
    dist.destroy_process_group()
    if not trainer.is_global_zero:
        sys.exit(0)
    os.environ.clear()
    os.environ.update(surroundings)

"""A training loop with a budget: the rate falls to 0 within it, and an interrupted run goes on."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from emoji.ranks import fork_ranks, from_first, join_ranks, mean_gradients

Losses = dict[str, Tensor]  # those whose name begins with _ are only reported
Loss = Callable[[torch.Generator], Losses]


@dataclass(frozen=True)
class Budget:
    """A stage ends with whichever comes first; at least one must be given."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, seconds: float, step: int) -> float:
        """The share of the budget used, 0 to 1."""
        shares = [seconds / 60 / self.minutes] if self.minutes else []
        return min(1.0, max([*shares, *([step / self.steps] if self.steps else [])]))


@dataclass(frozen=True)
class Plan:
    """What all stages need to know: where, how long, and on what; `half` trains under bf16 autocast.

    With `start`, a folder of finished weights, a stage goes on from these instead of from random ones.
    """

    folder: Path
    budget: Budget
    start: Path | None = None
    seed: int = 0
    device: str = "cpu"
    half: bool = False
    ranks: int = 1
    checkpoint_seconds: float = 60


@dataclass(frozen=True)
class Setting:
    """What the loop needs to know of one stage besides its loss."""

    name: str
    plan: Plan
    rate: float
    ema: float = 0.999


@dataclass
class State:
    """A run so far; `seconds` counts training time over all starts."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def fit(module: nn.Module, loss: Loss, setting: Setting) -> tuple[nn.Module, State]:
    """Trains a module on the sum of its losses; returns the mean of its weights and what was seen.

    SIGTERM ends the step, writes a checkpoint and exits; the same command goes on from there.
    """
    training = Training(module, setting)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    rank = fork_ranks(setting.plan.ranks)
    saved = started = time.monotonic() - training.state.seconds
    stop = 0.0
    while training.progress < 1 and not stop:
        training.step(loss, rank)
        training.state.seconds, stop = from_first([time.monotonic() - started, float(asked.is_set())])
        if training.state.step % 50 == 0 and rank == 0:
            training.report()
        if time.monotonic() - saved > setting.plan.checkpoint_seconds and rank == 0:
            training.save()
            saved = time.monotonic()
    join_ranks(rank)
    training.save()
    if stop:
        sys.exit(75)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return training.average, training.state


class Training:
    """A module, the mean of its weights, its optimizer, and how far it has come; reads its checkpoint if any."""

    def __init__(self, module: nn.Module, setting: Setting) -> None:
        self.module, self.setting = module, setting
        self.average = deepcopy(module).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=setting.rate, betas=(0.9, 0.99), weight_decay=0.01)
        self.state = State()
        self.recent: list[dict[str, float]] = []
        self.path = setting.plan.folder / f"{setting.name}.ckpt"
        if self.path.exists():
            self._load()

    @property
    def progress(self) -> float:
        """The share of the budget used, 0 to 1."""
        return self.setting.plan.budget.progress(self.state.seconds, self.state.step)

    def step(self, loss: Loss, rank: int) -> None:
        """One update. What is random comes from (seed, step, rank): a resumed run sees the same data."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.setting.rate * self._shape()
        plan = self.setting.plan
        number = (plan.seed * 1_000_003 + self.state.step) * plan.ranks + rank
        losses = loss(torch.Generator().manual_seed(number))
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([value for name, value in losses.items() if not name.startswith("_")]).sum().backward()
        mean_gradients(self.module)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.recent.append({name.strip("_"): value.item() for name, value in losses.items()})
        self.state.step += 1
        self._follow()

    def _shape(self) -> float:
        """The rate's factor: a warm-up of 100 steps, flat for 40 % of the budget, then straight to 0."""
        return min(1.0, (self.state.step + 1) / 100, (1 - self.progress) / 0.6)

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.setting.ema, (1 + self.state.step) / (10 + self.state.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.module.parameters()), 1 - decay)

    def report(self) -> None:
        """A line on stderr with the mean losses since the last one."""
        recent, self.recent = self.recent, []
        row = {name: round(sum(losses[name] for losses in recent) / len(recent), 5) for name in recent[0]}
        state = self.state
        state.history.append({"step": state.step, "seconds": round(state.seconds, 1), **row})
        text = "  ".join(f"{name} {value:.4f}" for name, value in row.items())
        head = f"{self.setting.name}  step {state.step}  {state.seconds:.0f} s  {self.progress:.0%}"
        print(f"{head}  {text}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Writes the checkpoint beside and renames it, so a kill leaves the last whole one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        torch.save(
            {
                "module": self.module.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "state": json.dumps(vars(self.state)),
            },
            part,
        )
        part.replace(self.path)

    def _load(self) -> None:
        saved = torch.load(self.path, weights_only=True)
        self.module.load_state_dict(saved["module"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = State(**json.loads(saved["state"]))

"""What a training needs to be told: where, how long, on what."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]
Precision = Literal["32", "bf16"]


@dataclass(frozen=True)
class Budget:
    """A training ends with whichever comes first; at least one must be given."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.minutes and not self.steps:
            raise ValueError("a budget of neither minutes nor steps: expected a positive number of one of them")

    def progress(self, seconds: float, step: int) -> float:
        """The share of the budget used, 0 to 1."""
        shares = [seconds / 60 / self.minutes] if self.minutes else []
        return min(1.0, max([*shares, *([step / self.steps] if self.steps else [])]))


@dataclass(frozen=True)
class Plan:
    """What all stages of a model share: folder, budget, seed, device, precision, processes.

    With ``start``, a folder of finished weights, a stage goes on from these instead of from random ones. More than
    one of ``ranks`` are processes on this machine's CPU, each with its own share of every batch.
    """

    folder: Path
    budget: Budget
    start: Path | None = None
    seed: int = 0
    device: Device = "cpu"
    precision: Precision = "32"
    ranks: int = 1
    checkpoint_seconds: float = 60


@dataclass(frozen=True)
class Rate:
    """The learning rate over a budget: a warm-up in steps, flat, then to 0 from the share ``flat`` on."""

    highest: float
    warmup: int = 100
    flat: float = 0.4
    fall: Literal["linear", "cosine"] = "linear"

    def factor(self, step: int, progress: float) -> float:
        """What ``highest`` is multiplied by before update ``step``, counted from 0."""
        left = min(1.0, (1 - progress) / (1 - self.flat))
        falling = left if self.fall == "linear" else 0.5 - 0.5 * cos(pi * left)
        return min(1.0, (step + 1) / self.warmup) * falling


@dataclass(frozen=True)
class Setting:
    """What the recipe needs to know of one stage besides its loss; ``average`` is the decay of the weights' mean."""

    name: str
    plan: Plan
    rate: Rate
    average: float = 0.999
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)

"""What faces-64's denoiser is trained for: noise prediction, a rectified flow, a few steps of it; and what network."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler, SchedulerMixin
from emoji.unet import new_scheduler
from torch import Tensor

from faces.architecture import Architecture
from faces.dit import Transformer
from faces.unet import UNet
from fcs.core.denoiser import Predicts
from fcs.models.base import Schedule
from fcs.models.schedules import FlowSchedule


class Kind(ABC):
    """What the network is shown and what it must say.

    Attributes:
        stage: of the training; the network lies in the folder of that name.
        model: the name of the weights.
        predicts: what the network predicts.
        schedule: its noise levels.
        architecture: of the network.
        after: stages of denoisers, the first to the last, each of which went on from the one before it.
        steps: levels at which faces are drawn to judge it.
        guidance: of these.
    """

    stage: str
    model: str
    predicts: Predicts
    schedule: Schedule
    architecture: Architecture = UNet()
    after: tuple[str, ...] = ()
    steps: int = 25
    guidance: float = 3.0

    @abstractmethod
    def scheduler(self) -> SchedulerMixin:
        """Diffusers' scheduler that says so in the exported folder."""

    @abstractmethod
    def draw(self, x0: Tensor, eps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """At uniform times: x_t ``(N, *)``, the time that the network is told ``(N,)``, its target ``(N, *)``."""


class Eps(Kind):
    """The noise, at Stable Diffusion's betas."""

    stage, model, predicts = "unet", "faces-64", "eps"

    def __init__(self) -> None:
        self.schedule = Schedule(new_scheduler().alphas_cumprod)

    def scheduler(self) -> SchedulerMixin:
        """Stable Diffusion's betas."""
        return new_scheduler()

    def draw(self, x0: Tensor, eps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The noise is the target."""
        assert self.schedule.alphas_cumprod is not None
        t = torch.randint(1000, (len(x0),), generator=generator)
        abar = self.schedule.alphas_cumprod[t].to(x0.device)[:, None, None, None]
        return abar.sqrt() * x0 + (1 - abar).sqrt() * eps, t.to(x0.device), eps


class Flow(Kind):
    """The velocity ``eps - x_0`` of straight lines from faces to noise (Liu et al. 2022), in InstaFlow's layout."""

    stage, model, predicts = "flow", "faces-64-flow", "flow"
    after: tuple[str, ...] = ("unet",)
    schedule = Schedule(None)

    def scheduler(self) -> SchedulerMixin:
        """Straight lines, without a shift."""
        return FlowMatchEulerDiscreteScheduler()

    def draw(self, x0: Tensor, eps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The line's direction is the target."""
        t = torch.rand(len(x0), generator=generator).to(x0.device)
        column = t[:, None, None, None]
        return (1 - column) * x0 + column * eps, 1000 * t, eps - x0


class Consistency(Flow):
    """The flow, distilled to jump to a picture from any time (``faces.distil``)."""

    stage, model = "consistency", "faces-64-consistency"
    after = ("unet", "flow")
    steps, guidance = 4, 1.0

    def __init__(self) -> None:
        self.schedule = FlowSchedule(self.scheduler())

    def scheduler(self) -> SchedulerMixin:
        """Straight lines; at each level all noise is new."""
        return FlowMatchLCMScheduler()


class Dit(Flow):
    """The same flow by a transformer in Stable Diffusion 3's format, from its first step."""

    stage, model = "dit", "faces-64-dit"
    architecture = Transformer()
    after = ()


FLOW, CONSISTENCY = Flow(), Consistency()
KINDS: dict[str, Kind] = {kind.stage: kind for kind in (Eps(), FLOW, CONSISTENCY, Dit())}

"""Stage consistency: the flow's network learns to jump, from any time, to where its own path ends.

Consistency distillation (Song et al. 2023; for latents Luo et al. 2023): along a path of the teacher, the student's x_0
at the later point is the target for its x_0 at the earlier one. At time 0 x_0 is the point itself, so what is known
there spreads to ever earlier times.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.kinds import CONSISTENCY, FLOW
from faces.pictures import Pool
from faces.text import Text
from faces.unet import BATCH, cached_latents, drawn, judge

STEPS = 16  # of the teacher, by Euler, from noise to a picture
HUBER = 0.00054  # times the root of the number of entries: Song and Dhariwal 2023, sec. 3.3


@dataclass
class SelfConsistency:
    """How far x_0 at two neighbouring points of one path are apart.

    Attributes:
        unet: the student; predicts velocities as the teacher does, ``x_0 = x_t - t v``.
        teacher: the flow's network, whose paths are followed.
        latents, labels, text: of the pictures, as the other stages take them.
    """

    unet: nn.Module
    teacher: nn.Module
    latents: Tensor
    labels: Tensor
    text: Text

    def __call__(self, generator: torch.Generator) -> Losses:
        """The pseudo-Huber loss of one batch, the target without a gradient."""
        x0, eps, states = drawn(self.latents, self.labels, self.text, generator)
        t = 1 - torch.rand(BATCH, generator=generator).to(states.device)[:, None, None, None]
        s = (t - 1 / STEPS).clamp(min=0)
        x = (1 - t) * x0 + t * eps
        with torch.no_grad():
            later = x - (t - s) * velocity(self.teacher, x, t, states)
            target = later - s * velocity(self.unet, later, s, states)
        found = x - t * velocity(self.unet, x, t, states)
        c = HUBER * found[0].numel() ** 0.5
        return {"loss": ((found - target).flatten(1).square().sum(1) + c**2).sqrt().sub(c).mean()}


def velocity(network: nn.Module, x: Tensor, t: Tensor, states: Tensor) -> Tensor:
    """What a flow's network says at ``x`` ``(N, C, H, W)`` and times ``t`` ``(N, 1, 1, 1)``."""
    x = x.contiguous(memory_format=torch.channels_last)
    out: Tensor = network(x, 1000 * t.flatten(), encoder_hidden_states=states).sample
    return out.float()


def train_consistency(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains from the flow's network of the same folder; writes what ``train_unet`` writes."""
    torch.manual_seed(plan.seed)
    vae = AutoencoderKL.from_pretrained(plan.folder / "vae").to(plan.device, memory_format=torch.channels_last)
    latents = cached_latents(vae, pool, plan.folder)
    teacher = UNet2DConditionModel.from_pretrained((plan.start or plan.folder) / FLOW.stage)
    teacher = teacher.to(plan.device, memory_format=torch.channels_last).eval().requires_grad_(False)
    unet = deepcopy(teacher).requires_grad_(True)
    text = Text.load(plan.folder, plan.device)
    loss = SelfConsistency(unet, teacher, latents, pool.labels, text)
    average, state = fit(unet, loss, Setting(CONSISTENCY.stage, plan, Rate(3e-4)))
    judge(CONSISTENCY, average, seen, plan)
    return state

"""Stage consistency: the flow's network learns to jump, from any time, to where its own path ends.

Consistency distillation (Song et al. 2023; for latents Luo et al. 2023): along a path of the teacher, the student's x_0
at the later point is the target for its x_0 at the earlier one. At time 0 x_0 is the point itself, so what is known
there spreads to ever earlier times.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from training.fit import Losses, State, fit
from training.plan import Plan, Rate, Setting

from faces.architecture import Conditions
from faces.denoiser import BATCH, Examples, answer, examples, judge
from faces.kinds import CONSISTENCY, FLOW
from faces.pictures import Pool

STEPS = 16  # of the teacher, by Euler, from noise to a picture
HUBER = 0.00054  # times the root of the number of entries: Song and Dhariwal 2023, sec. 3.3


@dataclass
class SelfConsistency:
    """How far x_0 at two neighbouring points of one path are apart.

    Attributes:
        unet: the student; predicts velocities as the teacher does, ``x_0 = x_t - t v``.
        teacher: the flow's network, whose paths are followed.
        examples: as the other stages draw them.
    """

    unet: nn.Module
    teacher: nn.Module
    examples: Examples

    def __call__(self, generator: torch.Generator) -> Losses:
        """The pseudo-Huber loss of one batch, the target without a gradient."""
        x0, eps, told = self.examples.draw(generator)
        t = 1 - torch.rand(BATCH, generator=generator).to(x0.device)[:, None, None, None]
        s = (t - 1 / STEPS).clamp(min=0)
        x = (1 - t) * x0 + t * eps
        with torch.no_grad():
            later = x - (t - s) * velocity(self.teacher, x, t, told)
            target = later - s * velocity(self.unet, later, s, told)
        found = x - t * velocity(self.unet, x, t, told)
        c = HUBER * found[0].numel() ** 0.5
        return {"loss": ((found - target).flatten(1).square().sum(1) + c**2).sqrt().sub(c).mean()}


def velocity(network: nn.Module, x: Tensor, t: Tensor, told: Conditions) -> Tensor:
    """What a flow's network says at ``x`` ``(N, C, H, W)`` and times ``t`` ``(N, 1, 1, 1)``."""
    return answer(network, x, 1000 * t.flatten(), told)


def train_consistency(pool: Pool, seen: Pool, plan: Plan) -> State:
    """Trains from the flow's network of the same folder; writes what ``train_denoiser`` writes."""
    torch.manual_seed(plan.seed)
    teacher = UNet2DConditionModel.from_pretrained((plan.start or plan.folder) / FLOW.stage)
    teacher = teacher.to(plan.device, memory_format=torch.channels_last).eval().requires_grad_(False)
    unet = deepcopy(teacher).requires_grad_(True)
    loss = SelfConsistency(unet, teacher, examples(CONSISTENCY, unet, pool, plan))
    average, state = fit(unet, loss, Setting(CONSISTENCY.stage, plan, Rate(3e-4)))
    judge(CONSISTENCY, average, seen, plan)
    return state

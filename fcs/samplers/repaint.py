"""RePaint: replacement with resampling jumps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from fcs.core.arguments import at_least, zero_to_one
from fcs.core.constraints import Constraint, Known
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level
from fcs.samplers.base import Noise, Sampler, renoise, require, with_eta
from fcs.samplers.replacement import Replacement


class RePaint(Sampler):
    """Known entries replaced after each ancestral step, with repeated jumps back (Lugmayr et al. 2022, Alg. 1).

    Sampling goes down ``jump`` levels and back up as many by the forward diffusion, ``passes`` times before it goes
    on (sec. 4.2; the published code's ``get_schedule_jump_paper``). Published are 250 levels, jumps of 10
    and 10 passes; with fewer levels take shorter jumps. The paper's algorithm replaces the known entries after a step,
    as here; the published code before the next one, and clips x_0.

    Args:
        jump: levels that a jump goes back, 1 or more.
        passes: how often each stretch is sampled, 1 or more; 1 is replacement.
        eta: of the steps down; 1 is the published ancestral sampling.

    Raises:
        ValueError: no jump or no passes, an eta outside 0 to 1.
    """

    needs = Known

    def __init__(self, jump: int = 10, passes: int = 10, eta: float = 1.0) -> None:
        at_least(1, jump=jump, passes=passes)
        zero_to_one(eta=eta)
        self.jump = jump
        self.passes = passes
        self.eta = eta

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        known = require(constraint, Known)
        replacement = Replacement()
        for here, there in pairwise(self.route(len(levels) - 1)):
            t, s = levels[here], levels[there]
            if there < here:
                x = renoise(x, t, s, randn)
            else:
                x = replacement.step(x, t, with_eta(t, s, self.eta), denoise, known, randn)
        return x

    def route(self, steps: int) -> list[int]:
        """Places in the list of levels in the order in which they are visited, 0 (noise) to ``steps`` (clean)."""
        left = dict.fromkeys(range(0, steps - self.jump, self.jump), self.passes - 1)  # by levels above the lowest
        height = steps - 1
        heights = [height]
        while height > 0:
            height -= 1
            heights.append(height)
            if left.get(height, 0) > 0:
                left[height] -= 1
                heights += range(height + 1, height + self.jump + 1)
                height += self.jump
        return [steps - 1 - height for height in [*heights, -1]]

    def calls(self, steps: int) -> int:
        return sum(there > here for here, there in pairwise(self.route(steps)))

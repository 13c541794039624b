"""FreeDoM: gradient guidance with time travel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcs.core.arguments import at_least, zero_to_one
from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level, pairs
from fcs.samplers.base import Noise, Sampler, ddim_step, renoise, with_eta
from fcs.samplers.dps import DPS


class FreeDoM(Sampler):
    """A guided ancestral step, several times over in the middle levels (Yu et al. 2023, Alg. 2).

    ``x_s = sample(x_t) - step_size alpha_t grad_{x_t} distance``, then back to ``x_t`` by fresh noise, ``repeats``
    times at levels between ``travel_from`` and ``travel_to`` of all levels. Published are: three passes between 0.7
    and 0.4 (style guidance code), a step proportional to ``alpha_t = sqrt(abar_t)`` and no guidance in the last tenth
    (face code). The step's factor is published for each condition's own loss only, 0.1 to 500; the default is the
    natural one for a distance in x_0's units and should be tuned. The style code instead scales the step by the
    difference that classifier-free guidance makes, which samplers here do not see, and guides from 0.7 to 0.3.

    Args:
        step_size: factor of ``alpha_t``.
        repeats: passes at a level with time travel, 1 or more.
        travel_from: share of the levels that remains when time travel begins, 0 to 1.
        travel_to: the share when it ends.
        guide_from: the share when guidance begins; 1 is the first level.
        guide_to: the share when it ends.
        eta: of the sampler; 1 is the published ancestral sampling.

    Raises:
        ValueError: no passes, an eta or a share outside 0 to 1.
    """

    def __init__(
        self,
        step_size: float = 1.0,
        repeats: int = 3,
        travel_from: float = 0.7,
        travel_to: float = 0.4,
        guide_from: float = 1.0,
        guide_to: float = 0.1,
        eta: float = 1.0,
    ) -> None:
        at_least(1, repeats=repeats)
        zero_to_one(travel_from=travel_from, travel_to=travel_to, guide_from=guide_from, guide_to=guide_to, eta=eta)
        self.step_size = step_size
        self.repeats = repeats
        self.travel = (travel_to, travel_from)
        self.guide = (guide_to, guide_from)
        self.eta = eta

    def __call__(
        self, x: Tensor, levels: Sequence[Level], denoise: Denoise, constraint: Constraint, randn: Noise
    ) -> Tensor:
        for (t, s), (passes, guided) in zip(pairs(levels), self._passes(len(levels) - 1), strict=True):
            for number in range(passes):
                x_t = renoise(x, s, t, randn) if number else x
                if guided:
                    x = DPS(self.step_size * t.alpha, self.eta).step(x_t, t, s, denoise, constraint, randn)
                else:
                    x = ddim_step(x_t, denoise(x_t, t), t, with_eta(t, s, self.eta), randn)
        return x

    def _passes(self, steps: int) -> list[tuple[int, bool]]:
        """For each level, how often it is sampled and whether it is guided."""
        # Each level counts at its middle: at 100 levels the published bounds fall between two levels.
        shares = [1 - (number + 0.5) / steps for number in range(steps)]
        return [(self.repeats if _within(share, self.travel) else 1, _within(share, self.guide)) for share in shares]

    def calls(self, steps: int) -> int:
        return sum(passes for passes, _ in self._passes(steps))

    def backwards(self, steps: int) -> int:
        return sum(passes for passes, guided in self._passes(steps) if guided)


def _within(share: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= share < bounds[1]

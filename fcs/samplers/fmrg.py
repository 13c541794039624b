"""FMRG: gradient steps on the end point of a flow map, which the path to it then follows."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.arguments import at_least
from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.directions import Gradient
from fcs.core.levels import Level
from fcs.samplers.base import Noise, StepSampler, at, ddim_step


class FMRG(StepSampler):
    """A few gradient steps on the end of the path, and a share of them on the way there (Huang et al. 2026).

    Flow map reward guidance (arXiv 2604.27147; published code ``fluxfm_sampler_ip.py``). Made for flow maps, which
    jump from any level to a picture; of another model x_0 is a blurred mean at the first levels. At each level x_0
    takes ``moves`` steps down ``|y - A D(x_0)|``, no gradient through the network (FMRG-E); x_s is the straight step
    to the old x_0 plus ``sigma_t alpha_s`` of what x_0 moved. With ``jacobian`` the steps are on x_t, each a call and
    a backward pass (FMRG-J), and ``sigma_t - sigma_s`` of them is added. Both weights are those of flows, where sigma
    is the time; they are taken as they are for other levels. The published code can also ask the network for the map
    to x_s instead of the straight step to x_0 (two calls a level, ``flow_map2``) and stop guiding early; both need a
    network that is told two times. Its norm is over all entries, so other picture sizes want other steps.

    Args:
        step_size: length of a step in units of x_0, or of x_t with ``jacobian``; published 10 for 256 pixels of Flux,
            whose x_0 has 16,384 entries.
        moves: steps at each level, 1 or more; published 5.
        jacobian: go through the network.
        renewed: all noise new at each level, as consistency models are sampled; published: the path's own.

    Raises:
        ValueError: no moves.
    """

    def __init__(self, step_size: float = 10.0, moves: int = 5, jacobian: bool = False, renewed: bool = False) -> None:
        at_least(1, moves=moves)
        self.step_size = step_size
        self.moves = moves
        self.jacobian = jacobian
        self.renewed = renewed

    def step(self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint, randn: Noise) -> Tensor:
        way = self._through if self.jacobian else self._at_the_end
        x0, moved, share = way(x, t, s, denoise, constraint)
        s = s._replace(noise_std=s.sigma if self.renewed else 0.0)
        return ddim_step(x, x0, t, s, randn) + share * moved

    def _at_the_end(
        self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint
    ) -> tuple[Tensor, Tensor, float]:
        """x_0, how far it is moved, and the share of that which x_s takes."""
        x0 = end = denoise(x, t)
        for _ in range(self.moves):
            end = end + self.step_size * constraint.pull(end)
        return x0, end - x0, t.sigma * s.alpha

    def _through(
        self, x: Tensor, t: Level, s: Level, denoise: Denoise, constraint: Constraint
    ) -> tuple[Tensor, Tensor, float]:
        """x_0, how far x_t is moved, and the share of that which x_s takes."""
        direction, f = Gradient(), at(denoise, t)
        ends: list[Tensor] = []
        moved = torch.zeros_like(x)
        for _ in range(self.moves):
            end, F = direction.linearize(f, x + moved)
            moved = moved + self.step_size * F(constraint.pull(end))
            ends.append(end)
        return ends[0], moved, t.sigma - s.sigma

    def calls(self, steps: int) -> int:
        return steps * (self.moves if self.jacobian else 1)

    def backwards(self, steps: int) -> int:
        return steps * self.moves if self.jacobian else 0

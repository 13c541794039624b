"""From noise to x_0 for one batch: what a task walks, once or several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.denoiser import Guided
from fcs.core.levels import Level
from fcs.core.per_sample import RecordNoise
from fcs.models.base import Model
from fcs.samplers.base import Denoise, Sampler
from fcs.samplers.prior import Prior


class ResidualTrace:
    """How a constraint's residual goes down the levels: at each, of the last x_0 that the denoiser gave there.

    Nothing waits for the device before ``rows``.
    """

    def __init__(self, constraint: Constraint) -> None:
        self.constraint = constraint
        self._residuals: dict[Level, Tensor] = {}
        self._last: tuple[Level, Tensor] | None = None

    def __call__(self, x0: Tensor, level: Level) -> None:
        """``x0`` ``(N, *)`` is what the denoiser gave at ``level``."""
        if self._last is not None and self._last[0] != level:
            self._settle()
        self._last = level, x0.detach()

    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Residuals of each row, in the order in which the levels were reached first; empty where none was."""
        self._settle()
        return tuple(map(tuple, torch.stack([*self._residuals.values()], 1).tolist())) if self._residuals else ()

    @torch.no_grad()
    def _settle(self) -> None:
        if self._last is not None:
            level, x0 = self._last
            self._residuals[level] = self.constraint.residual(x0)
            self._last = None


class SamplingLoop:
    """A batch's way down the noise levels, with the batch's noise.

    Args:
        model: the pretrained model.
        sampler: what happens at each level.
        levels: noisiest first; the last is ``(alpha, sigma) = (1, 0)``.
        randn: the batch's noise, by row.
        guidance: diffusers' guidance_scale; 1 is none.
        negative_prompt: prompt of guidance's other branch.
        guidance_stop: share of the levels that are guided, the noisiest first.
        watch: called before each denoiser call; may raise to cut the batch short.
    """

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        levels: Sequence[Level],
        randn: RecordNoise,
        guidance: float = 1.0,
        negative_prompt: str = "",
        guidance_stop: float = 1.0,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.sampler = sampler
        self.levels = levels
        self.randn = randn
        self.guidance = guidance
        self.negative_prompt = negative_prompt
        self.guidance_stop = guidance_stop
        self.watch = watch
        self._guided: list[Guided] = []

    @property
    def calls(self) -> int:
        """Denoiser calls until now, whatever the prompts; the two branches of guidance are one."""
        return sum(guided.calls for guided in self._guided)

    def denoiser(self, prompts: Sequence[str], shown: Tensor | None = None) -> Prior:
        """``(x, level) -> x_0`` with one prompt a row; its calls are counted.

        Args:
            prompts: one a row.
            shown: what the model makes of a batch for its network to see (``Model.shown``).
        """
        guided = self.model.guided(prompts, self.negative_prompt, self.guidance)
        guided.above = self._unguided
        if shown is not None:
            guided.beside = shown
        self._guided.append(guided)
        return Prior(guided, self.model.encode, self.model.decode, self.watch)

    @property
    def _unguided(self) -> float:
        """The t of the noisiest level without guidance, below all where there is none."""
        steps = len(self.levels) - 1
        first = round(self.guidance_stop * steps)
        return self.levels[first].t if first < steps else -1.0

    def sample(self, denoise: Denoise, constraint: Constraint) -> Tensor:
        """x_0 ``(N, *shape)`` from pure noise, by all levels."""
        x = self.levels[0].sigma * self.randn(self.model.shape)
        return self.sampler(x, self.levels, denoise, constraint, self.randn)

    def guess(self, denoise: Denoise, constraint: Constraint, start: Tensor, depth: float) -> Tensor:
        """x_0 ``(N, *shape)`` in one step from a noised ``start``: the sampler's work at one level and no further one.

        Args:
            start: ``(N, *shape)``, x_0 as far as it is known.
            depth: share of the levels that the noise goes back, above 0 and up to 1.
        """
        steps = len(self.levels) - 1
        t = self.levels[steps - max(1, round(depth * steps))]
        x = t.alpha * start + t.sigma * self.randn(self.model.shape)
        return self.sampler(x, [t, self.levels[-1]], denoise, constraint, self.randn)

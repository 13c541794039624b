"""Noise levels, from pure noise to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from torch import Tensor

from fcs.core.arguments import at_least

Spacing = Literal["even", "paper"]


class Level(NamedTuple):
    """One noise level, ``x_t = alpha x_0 + sigma eps``.

    Attributes:
        t: what the network is told, in its own unit (0 to 1000).
        alpha: scale of the picture.
        sigma: scale of the noise.
        noise_std: standard deviation of the new noise that a step to this level adds; of the first level, that of x_T,
            and 0 where x_T has the level's own sigma.
    """

    t: float
    alpha: float
    sigma: float
    noise_std: float = 0.0

    @property
    def renewed(self) -> bool:
        """Whether all of its noise is new, as where a consistency model is sampled: no step may keep any then."""
        return self.noise_std >= self.sigma > 0


def ddpm_levels(alphas_cumprod: Tensor, steps: int, spacing: Spacing = "even") -> list[Level]:
    """Levels of a variance-preserving diffusion, from noise to ``(alpha, sigma) = (1, 0)``.

    The noise is nearly deterministic DDIM's as the authors use it (Graikos et al. 2025, slides, line 16):
    ``noise_std^2 = beta_t (1 - abar_s) / (1 - abar_t)`` with the one-step beta although the stride is longer.

    Args:
        alphas_cumprod: ``(T,)`` products abar of the training schedule.
        steps: number of levels at which the network is asked, 1 to T.
        spacing: ``even`` tells the network the t at which abar is read (999, 949, ... for 20 of 1000);
            ``paper`` tells it t + 1 (1000, 950, ...) and begins with x_T of standard deviation 1, not sigma_T (.9977 in
            Stable Diffusion), as the published notebooks do.

    Raises:
        ValueError: steps outside 1 to T.
    """
    total = len(alphas_cumprod)
    if not 1 <= steps <= total:
        raise ValueError(f"steps={steps}: expected 1 to {total}")
    abar = [1.0, *alphas_cumprod.double().tolist()]  # abar[0] is the clean picture, abar[i] that of timestep i - 1
    offset = 1 if spacing == "paper" else 0
    places = [round(total * (1 - i / steps)) for i in range(steps)] + [0]
    levels = []
    for before, place in zip([None, *places], places, strict=False):
        noise_std = float(offset)
        if before is not None:
            beta = 1 - abar[before] / abar[before - 1]
            noise_std = (beta * (1 - abar[place]) / (1 - abar[before])) ** 0.5
        t = max(place - 1 + offset, 0)
        levels.append(Level(float(t), abar[place] ** 0.5, (1 - abar[place]) ** 0.5, noise_std))
    return levels


def flow_levels(steps: int, shift: float = 1.0) -> list[Level]:
    """Levels of a rectified flow, ``alpha = 1 - t``, ``sigma = t``; the network is told 1000 t.

    Args:
        steps: number of levels at which the network is asked, at least 1.
        shift: moves levels towards the noise, ``t <- shift t / (1 + (shift - 1) t)`` (Esser et al. 2024).

    Raises:
        ValueError: steps below 1.
    """
    at_least(1, steps=steps)
    times = [1 - i / steps for i in range(steps + 1)]
    times = [shift * t / (1 + (shift - 1) * t) for t in times]
    return [Level(1000 * t, 1 - t, t) for t in times]


def pairs(levels: Sequence[Level]) -> list[tuple[Level, Level]]:
    """Neighbouring levels (t, s), noisier first."""
    return list(pairwise(levels))

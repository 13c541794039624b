"""The one interface a sampler knows: x_t at a level to x_0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fcs.core.autocast import halve, is_off, keep_ends, keep_sums
from fcs.core.levels import Level
from fcs.core.windows import Windows

Predicts = Literal["eps", "v", "flow"]
Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Denoise = Callable[[Tensor, Level], Tensor]


class Denoiser(nn.Module):
    """A pretrained network seen as ``x_t -> x_0``.

    x_0 is formed in the type of x_t (float32 in runs) outside autocast: finite differences of it must not be
    rounded to 16 bits. Only the network itself runs under autocast, and of it the first and the last convolution and
    what lies between matrix products stay in float32 (``fcs.core.autocast``).

    Args:
        network: ``(x (N, *), t (N,), cond) -> output (N, *)``.
        predicts: what the output is: the noise ``eps``, the velocity ``v = alpha eps - sigma x_0``, or a rectified
            flow's ``flow = eps - x_0``.
        autocast: type for the network's own arithmetic, None for none; the network is changed for it in place.

    Attributes:
        windows: what the network sees at once of a larger x_t; all of it if None.
    """

    def __init__(self, network: nn.Module, predicts: Predicts, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        if autocast is not None:
            keep_ends(network)
            keep_sums(network)
            halve(network, autocast)
        self.network: nn.Module = network
        self.predicts = predicts
        self.autocast = autocast
        self.windows: Windows | None = None
        self._compiled: tuple[Network, torch.dtype | None] | None = None

    def compile_network(self, cuda_graphs: bool = False) -> None:
        """Compile the network for the arithmetic that it has now; in another one it runs as it is.

        With ``cuda_graphs`` its output is overwritten by the next call; x_0 is not.
        """
        from fcs.core.compiled import Compiled

        self._compiled = Compiled(self.network, cuda_graphs), self.autocast

    def to_channels_last(self) -> None:
        """The layout in which a GPU's 16-bit convolutions compute; others would be turned at every call."""
        if self.autocast is not None:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, concat_cond: Tensor | None = None) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``.

        Args:
            x: ``(N, *)`` x_t.
            level: where it is.
            cond: conditioning for the network, one entry per sample.
            concat_cond: ``(N, K, ...)`` channels that the network sees after those of ``x``.
        """
        # A tensor of fixed shape and type: a Python number would be a new graph for the compiler at each level.
        t = torch.full((len(x),), level.t, dtype=torch.float32, device=x.device)
        inputs = x if concat_cond is None else torch.cat([x, concat_cond.to(x)], 1)
        autocast = self._autocast
        with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
            out = self._once(inputs, t, cond) if self.windows is None else self.windows(self._once, inputs, t, cond)
        return x0_from(out.to(x.dtype), x, level, self.predicts)

    def _once(self, inputs: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """One pass through the network."""
        return self._network(dense(inputs), t, cond)

    @property
    def _autocast(self) -> torch.dtype | None:
        """What autocast uses in this thread now."""
        return None if is_off() else self.autocast

    @property
    def _network(self) -> Network:
        if self._compiled is None or self._compiled[1] is not self._autocast:
            return self.network
        return self._compiled[0]


def dense(x: Tensor) -> Tensor:
    """``x`` in row-major order with the standard strides.

    A compiled graph expects one memory layout, and x_t may have another than the noise it started from. ``contiguous``
    is not enough: where a dimension is 1 it accepts several strides, and the compiler tells them apart.
    """
    return x.reshape(-1).view(x.shape)


def x0_from(out: Tensor, x: Tensor, level: Level, predicts: Predicts) -> Tensor:
    """x_0 from a network's output, by the definition of what it predicts."""
    if predicts == "eps":
        return (x - level.sigma * out) / level.alpha
    if predicts == "v":  # with alpha^2 + sigma^2 = 1
        return level.alpha * x - level.sigma * out
    # x = alpha x_0 + sigma eps and out = eps - x_0, so x - sigma out = (alpha + sigma) x_0
    return (x - level.sigma * out) / (level.alpha + level.sigma)


@dataclass(frozen=True, eq=False)
class Guided:
    """A denoiser bound to a batch's prompts, with classifier-free guidance.

    With guidance the two branches run in one batch of 2N and count as one call. x_0 is affine in the network's
    output, so guiding x_0 is guiding the output: ``x_0 = x_0(uncond) + scale (x_0(cond) - x_0(uncond))``.

    Attributes:
        denoiser: the network's x_0.
        cond: conditioning ``(N, ...)``, or None for an unconditional network.
        uncond: conditioning of the other branch; needed where ``scale`` is not 1.
        scale: diffusers' ``guidance_scale``; 1 is none.
        concat_cond: channels ``(N, K, ...)`` that the network sees after those of x_t, None for most networks.
        guided_above: only levels whose t is above this are guided; at the others the prompt alone counts and one
            branch runs (Kynkäänniemi et al. 2024: limited intervals).

    Raises:
        ValueError: a scale other than 1 for a network without prompts.
    """

    denoiser: Denoiser
    cond: Tensor | None = None
    uncond: Tensor | None = None
    scale: float = 1.0
    concat_cond: Tensor | None = None
    guided_above: float = -1.0

    def __post_init__(self) -> None:
        if self.scale != 1.0 and (self.cond is None or self.uncond is None):
            raise ValueError(f"guidance={self.scale:g}: expected 1 for a model without prompts")

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``."""
        guides = self.scale != 1.0 and level.t > self.guided_above
        if not guides or self.cond is None or self.uncond is None:
            return self.denoiser(x, level, self.cond, self.concat_cond)
        cond = torch.cat([self.cond, self.uncond])
        concat_cond = None if self.concat_cond is None else torch.cat([self.concat_cond, self.concat_cond])
        with_prompt, without = self.denoiser(torch.cat([x, x]), level, cond, concat_cond).chunk(2)
        return without + self.scale * (with_prompt - without)

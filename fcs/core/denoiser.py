"""The one interface a sampler knows: x_t at a level to x_0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from fcs.core.autocast import keep_ends, keep_sums
from fcs.core.levels import Level

Predicts = Literal["eps", "v", "flow"]
Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]


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
    """

    def __init__(self, network: nn.Module, predicts: Predicts, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        if autocast is not None:
            keep_ends(network)
            keep_sums(network)
        self.network: nn.Module = network
        self.predicts = predicts
        self.autocast = autocast
        self._compiled: tuple[Network, torch.dtype | None] | None = None

    def compile_network(self, cuda_graphs: bool = False) -> None:
        """Compile the network for the arithmetic that it has now; in another one it runs as it is.

        With ``cuda_graphs`` its output is overwritten by the next call; x_0 is not.
        """
        from fcs.core.compiled import Compiled

        self._compiled = Compiled(self.network, cuda_graphs), self.autocast

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``.

        ``cond`` is handed to the network; ``beside`` ``(N, K, ...)`` are channels that it sees behind those of ``x``.
        """
        # A tensor of fixed shape and type: a Python number would be a new graph for the compiler at each level.
        t = torch.full((len(x),), level.t, dtype=torch.float32, device=x.device)
        seen = x if beside is None else torch.cat([x, beside.to(x)], 1)
        with torch.autocast(x.device.type, self.autocast, enabled=self.autocast is not None):
            out = self._network(as_graphs_take_it(seen), t, cond)
        return x0_from(out.to(x.dtype), x, level, self.predicts)

    @property
    def _network(self) -> Network:
        if self._compiled is None or self._compiled[1] is not self.autocast:
            return self.network
        return self._compiled[0]


def as_graphs_take_it(x: Tensor) -> Tensor:
    """``x`` with its entries one behind the other, and the strides that say so.

    A compiled graph is for one memory layout. An output of the network may have another than pure noise; where a
    dimension is 1 several strides mean the same, and ``contiguous`` takes any of them.
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


class Guided:
    """A denoiser bound to a batch's prompts; counts its calls.

    With guidance the two branches run in one batch of 2N and count as one call. x_0 is affine in the network's
    output, so guiding x_0 is guiding the output: ``x_0 = x_0(uncond) + scale (x_0(cond) - x_0(uncond))``.

    Args:
        denoiser: the network's x_0.
        cond: conditioning ``(N, ...)``, or None for an unconditional network.
        uncond: conditioning of the other branch; needed where ``scale`` is not 1.
        scale: diffusers' ``guidance_scale``; 1 is none.
        above: guidance ends with the last level whose t is above this; from there on the prompt alone counts, and
            one branch runs (Kynkäänniemi et al. 2024: limited intervals).
        beside: channels ``(N, K, ...)`` that the network sees behind those of x_t, None for most networks.

    Raises:
        ValueError: a scale other than 1 for a network without prompts.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        cond: Tensor | None = None,
        uncond: Tensor | None = None,
        scale: float = 1.0,
        beside: Tensor | None = None,
        above: float = -1.0,
    ) -> None:
        if scale != 1.0 and (cond is None or uncond is None):
            raise ValueError(f"guidance={scale:g}: expected 1 for a model without prompts")
        self.denoiser = denoiser
        self.scale = scale
        self.cond = cond
        self.beside = beside
        self.above = above
        self.calls = 0
        self.uncond = None if scale == 1.0 else uncond

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """x_0 ``(N, *)`` for ``x`` ``(N, *)`` at ``level``."""
        self.calls += 1
        if self.cond is None or self.uncond is None or level.t <= self.above:
            return self.denoiser(x, level, self.cond, self.beside)
        cond = torch.cat([self.cond, self.uncond])
        beside = None if self.beside is None else torch.cat([self.beside, self.beside])
        with_prompt, without = self.denoiser(torch.cat([x, x]), level, cond, beside).chunk(2)
        return without + self.scale * (with_prompt - without)

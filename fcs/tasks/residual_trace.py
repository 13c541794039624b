"""How a constraint's residual goes down from level to level."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fcs.core.constraints import Constraint
from fcs.core.denoiser import Denoise
from fcs.core.levels import Level

Preview = Callable[[int, Tensor, Tensor], None]  # (level's number, x_0 (N, *shape), residual (N,))


class ResidualTrace:
    """Records the residual at each level, of the last x_0 that the denoiser gave there.

    It wraps a denoise callable and is read after sampling. Nothing waits for the device.

    Args:
        constraint: whose residual.
        preview: told of each level when it is left, the noisiest being number 0; of the last by ``residuals``.
    """

    def __init__(self, constraint: Constraint, preview: Preview | None = None) -> None:
        self.constraint = constraint
        self.preview = preview
        self._residuals: dict[Level, Tensor] = {}
        self._last: tuple[Level, Tensor] | None = None

    def __call__(self, denoise: Denoise) -> Denoise:
        """``denoise``, with what it gives recorded."""

        def recorded(x: Tensor, level: Level) -> Tensor:
            x0 = denoise(x, level)
            if self._last is not None and self._last[0] != level:
                self._settle()
            self._last = level, x0.detach()
            return x0

        return recorded

    def residuals(self) -> Tensor:
        """Residuals ``(N, L)`` in the order in which the L levels were first reached; empty without any call."""
        self._settle()
        return torch.stack([*self._residuals.values()], 1) if self._residuals else torch.zeros(0)

    @torch.no_grad()
    def _settle(self) -> None:
        """Turn the last x_0 into its residual."""
        if self._last is not None:
            level, x0 = self._last
            self._last = None
            self._residuals[level] = self.constraint.residual(x0)
            if self.preview is not None:
                self.preview(len(self._residuals) - 1, x0, self._residuals[level])

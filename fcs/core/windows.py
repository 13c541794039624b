"""Large pictures through a network of small ones: overlapping windows of one x_t, whose outputs are averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """What a network sees at once of an x_t that is larger.

    At a given x_t, x_0 is affine in the network's output whatever it predicts, so the average of the outputs is that of
    the windows' x_0 (MultiDiffusion, Bar-Tal et al. 2023). There every window counts alike, which leaves an edge where
    one begins; here it counts the less, the nearer its border is.

    Attributes:
        height, width: of a window, in entries of x_t; less where x_t is smaller.
        overlap: entries that two neighbours share at least, below both sides.
    """

    height: int
    width: int
    overlap: int

    def __call__(
        self, network: Callable[[Tensor, Tensor, Tensor | None], Tensor], x: Tensor, t: Tensor, cond: Tensor | None
    ) -> Tensor:
        """The output ``(N, C, H, W)`` of a network for ``x`` ``(N, K, H, W)``, window by window."""
        height, width = (min(most, side) for most, side in zip((self.height, self.width), x.shape[2:], strict=True))
        weight = _ramp(height, self.overlap).to(x.device)[:, None] * _ramp(width, self.overlap).to(x.device)
        total, weights = None, torch.zeros(x.shape[2:], device=x.device)
        for top in starts(x.shape[2], height, self.overlap):
            for left in starts(x.shape[3], width, self.overlap):
                rows, columns = slice(top, top + height), slice(left, left + width)
                out = network(x[..., rows, columns], t, cond)
                if total is None:
                    total = out.new_zeros(*out.shape[:2], *x.shape[2:], dtype=torch.promote_types(x.dtype, out.dtype))
                total[..., rows, columns] += weight * out
                weights[rows, columns] += weight
        assert total is not None
        return total / weights

    def count(self, height: int, width: int) -> int:
        """Windows of an x_t of this size."""
        return len(starts(height, self.height, self.overlap)) * len(starts(width, self.width, self.overlap))


def starts(side: int, window: int, overlap: int) -> list[int]:
    """Where the fewest windows begin that cover a side and share at least ``overlap``, at even distances."""
    if side <= window:
        return [0]
    gaps = -(-(side - window) // (window - overlap))
    return [round(place * (side - window) / gaps) for place in range(gaps + 1)]


def _ramp(side: int, overlap: int) -> Tensor:
    """Weights along a side: 1 in its middle, falling towards both ends over the overlap, never to 0."""
    places = torch.arange(1, side + 1)
    return torch.minimum(places, places.flip(0)).clamp(max=max(overlap, 1)) / max(overlap, 1)

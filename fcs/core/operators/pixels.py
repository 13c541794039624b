"""Some pixels of each picture; its inversion is inpainting of scattered pixels."""

from __future__ import annotations

from torch import Tensor

from fcs.core.operators.base import Operator
from fcs.core.operators.on_device import OnDevice


class Pixels(Operator):
    """Some pixels and nothing else.

    Args:
        given: ``(N, 1, H, W)`` in [0, 1], 1 = given.
    """

    def __init__(self, given: Tensor) -> None:
        self.given = given
        self._given = OnDevice(given)

    def A(self, x: Tensor) -> Tensor:
        return self._given.like(x) * x

    def A_dagger(self, y: Tensor) -> Tensor:
        """The given pixels, grey elsewhere."""
        given = self._given.like(y)
        return (given > 0) * y / given.clamp(min=1e-6)

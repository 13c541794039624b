"""A constant of an operator, copied to each device once: a copy at every application would stop a GPU's queue."""

from __future__ import annotations

import torch
from torch import Tensor


class OnDevice:
    """A constant, with a copy for each device and type in which it was used.

    Args:
        value: the constant, on the CPU.
    """

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """The constant on the device and in the type of a tensor."""
        key = (x.device, x.dtype)
        if key not in self._copies:
            self._copies[key] = self.value.to(x)
        return self._copies[key]

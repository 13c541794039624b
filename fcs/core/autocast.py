"""Autocast to 16 bits, with the parts that lose most by rounding kept in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROUNDED = (torch.bfloat16, torch.float16)
AUTOCAST = {"32": None, "16": torch.float16, "bf16": torch.bfloat16}  # by the precision of a configuration or a call
_OFF: ContextVar[bool] = ContextVar("autocast_off", default=False)


@contextmanager
def no_autocast() -> Iterator[None]:
    """Denoisers called in this thread run in the type of their weights; other threads are not affected."""
    token = _OFF.set(True)
    try:
        yield
    finally:
        _OFF.reset(token)


def is_off() -> bool:
    """Whether this thread is inside ``no_autocast``."""
    return _OFF.get()


class Full(nn.Module):
    """A part of a network that autocast leaves alone.

    Args:
        part: a convolution.
    """

    def __init__(self, part: nn.Conv2d) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """The part's output in the type of its weights."""
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.part(x.to(self.part.weight.dtype))
            return out


def keep_ends(network: nn.Module) -> None:
    """Keep the first and the last convolution in float32, in place, so that x_t and the output are not rounded."""
    names = [name for name, part in network.named_modules() if isinstance(part, nn.Conv2d)]
    for name in {*names[:1], *names[-1:]}:
        parent, _, own = name.rpartition(".")
        part = network.get_submodule(name)
        assert isinstance(part, nn.Conv2d)
        setattr(network.get_submodule(parent), own, Full(part))


class HalvedLinear(nn.Linear):
    """A linear layer with its weights in 16 bits beside, for calls under autocast to them."""

    halved_weight: Tensor
    halved_bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """The same bits as without the copies."""
        copies = _copies(self, x)
        return super().forward(x) if copies is None else F.linear(x.to(copies[0].dtype), *copies)


class HalvedConv2d(nn.Conv2d):
    """A convolution with its weights in 16 bits beside, for calls under autocast to them."""

    halved_weight: Tensor
    halved_bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """The same bits as without the copies."""
        copies = _copies(self, x)
        return super().forward(x) if copies is None else self._conv_forward(x.to(copies[0].dtype), *copies)


HALVED: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: HalvedLinear, nn.Conv2d: HalvedConv2d}


def halve(network: nn.Module, kind: torch.dtype) -> None:
    """Keep 16-bit copies beside the weights of what autocast rounds, in place.

    Autocast remembers the rounded weights of networks in training only; frozen ones it rounds again at every call. The
    float32 ones stay for what is done in float32: measuring differences, and records that overflow.
    """
    kept = {part.part for part in network.modules() if isinstance(part, Full)}
    for part in network.modules():
        if isinstance(part, nn.Linear | nn.Conv2d) and type(part) in HALVED and part not in kept:
            for name in ("weight", "bias"):
                values = getattr(part, name)
                part.register_buffer(f"halved_{name}", None if values is None else values.detach().to(kind), False)
            part.__class__ = HALVED[type(part)]  # type: ignore[assignment]


def _copies(part: HalvedLinear | HalvedConv2d, x: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias in autocast's present type; None where there is no autocast, or to another type."""
    kind = x.device.type
    weight = part.halved_weight
    if not torch.is_autocast_enabled(kind) or torch.get_autocast_dtype(kind) != weight.dtype:
        return None
    return weight, part.halved_bias


def keep_sums(network: nn.Module) -> None:
    """Everything between matrix products in float32, in place: sums of residuals, norms, activations."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(_widened)


def _widened(part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
    return out.float() if out.dtype in ROUNDED else out

"""Ways to run a network: in 16 bits, with parts of it in float32, and in float64 to hold them against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fcs.core.autocast import keep_ends, keep_sums
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.tf32 import tf32
from fcs.models import Model
from fcs.tasks.half_precision import COSINE, lengths

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}
BARS = {
    "bf16": COSINE[torch.bfloat16],
    "fp16": COSINE[torch.float16],
    "tf32": COSINE[torch.float16],
}  # tf32: as many bits


class Cast(nn.Module):
    """A copy of a network with its weights in a type, whatever it is handed."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = deepcopy(network).to(dtype), dtype

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output in its type."""
        return self.network(x.to(self.dtype), t, None if cond is None else cond.to(self.dtype))


def as_it_is(network: nn.Module) -> nn.Module:
    """Autocast decides."""
    return network


def ends(network: nn.Module) -> nn.Module:
    """A copy whose first and last convolution stay in float32."""
    made = deepcopy(network)
    keep_ends(made)
    return made


def sums(network: nn.Module) -> nn.Module:
    """The same with what lies between matrix products in float32 too: what a run does."""
    made = ends(network)
    keep_sums(made)
    return made


LEVERS: dict[str, Callable[[nn.Module], nn.Module]] = {"plain": as_it_is, "ends": ends, "sums": sums}
FORWARD_MODE = "forward-mode"  # a lever too: the derivative itself, with weights and tangents in 16 bits


@dataclass(frozen=True)
class Arithmetic:
    """A way to run a network.

    Attributes:
        dtype: key of ``DTYPES``.
        lever: key of ``LEVERS``, or ``FORWARD_MODE``.
        network: what runs.
        lengths: what ``auto`` measured under it.
    """

    dtype: str
    lever: str
    network: nn.Module
    lengths: Mapping[float, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For tables."""
        return self.dtype if self.lever == "plain" else f"{self.dtype}, {self.lever}"

    @contextmanager
    def running(self, model: Model) -> Iterator[None]:
        """The model with this network and arithmetic."""
        rounded = self.lever != FORWARD_MODE and self.dtype != "tf32"
        with swapped(model, self.network, DTYPES[self.dtype] if rounded else None), tf32(self.dtype == "tf32"):
            yield

    def measured(self, model: Model, levels: Sequence[Level]) -> Arithmetic:
        """The same with what ``auto`` finds for the levels of a walk; in TF32 it takes what it takes in float32."""
        if self.dtype == "tf32" or self.lever == FORWARD_MODE:
            return self
        with self.running(model):
            return replace(self, lengths=lengths(model, levels))


@contextmanager
def swapped(model: Model, network: nn.Module, autocast: torch.dtype | None) -> Iterator[None]:
    """The model with another network and autocast for a while."""
    denoiser = model.denoiser
    before = denoiser.network, denoiser.autocast
    denoiser.network, denoiser.autocast = network, autocast
    try:
        yield
    finally:
        denoiser.network, denoiser.autocast = before


def arithmetics(model: Model, dtypes: Sequence[str], levers: Sequence[str]) -> list[Arithmetic]:
    """All levers under all types; TF32 has none.

    Raises:
        UsageError: a name that is none, or TF32 without a GPU.
    """
    there = [dtype for dtype in DTYPES if dtype != "tf32" or model.device.type == "cuda"]
    for option, given, names in (("--dtypes", dtypes, there), ("--levers", levers, [*LEVERS, FORWARD_MODE])):
        for name in given:
            if name not in names:
                raise UsageError.of(option, name, f"of {', '.join(names)}, comma separated", names)
    network = model.denoiser.network
    found = []
    for dtype in dtypes:
        for lever in levers if dtype != "tf32" else ("plain",):
            made = Cast(network, DTYPES[dtype]) if lever == FORWARD_MODE else LEVERS[lever](network)
            found.append(Arithmetic(dtype, lever, made))
    return found

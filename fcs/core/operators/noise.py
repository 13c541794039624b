"""The noise of an operator that brings its own, as deepinv's ``Physics`` do: drawn by record."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fcs.core.operators.base import Operator
from fcs.core.per_sample import rms

NoiseModel = Callable[[Tensor], Tensor]


def noise_model(operator: Operator) -> NoiseModel | None:
    """The operator's noise model; None where it has none, or one that adds nothing."""
    found = getattr(operator, "noise_model", None)
    return None if found is None or type(found).__name__ == "ZeroNoise" else found


def with_noise(model: NoiseModel, clean: Tensor, seeds: Sequence[int]) -> Tensor:
    """Measurements ``(N, ...)`` with noise from the model, each by its own seed; torch's own generator stays as it was.

    Drawn on the CPU, so that it does not depend on the device.
    """
    if isinstance(model, nn.Module):
        model.to("cpu")
    rng, found = getattr(model, "rng", None), []
    own = [rng] if rng is not None and rng.device.type == "cpu" else []
    with torch.random.fork_rng(devices=[]):
        for measurement, seed in zip(clean.cpu(), seeds, strict=True):
            for generator in (torch.default_generator, *own):
                generator.manual_seed((seed ^ seed >> 32) & 0xFFFFFFFF)  # all it reads of a seed
            found.append(model(measurement[None]))
    return torch.cat(found).to(clean.device)


def noise_level(model: NoiseModel, measured: Tensor, seeds: Sequence[int]) -> Tensor:
    """Standard deviation of the noise in measurements ``(N, ...)``, ``(N,)``: that of another draw upon them."""
    return rms(with_noise(model, measured, [seed ^ 1 for seed in seeds]) - measured)

"""A pipeline's network, asked again as its own call asks it, but with a gradient, which that call does not keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fcs.core.denoiser import Guided, x0_from
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.per_sample import RecordNoise
from fcs.models.diffusers_pipeline import DiffusersPipeline


def replayed(model: DiffusersPipeline, guided: Guided, level: Level, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """``x_t -> x_0`` ``(1, *)`` at a level, differentiable; what the network is told beside x_t is written down once.

    Args:
        model: the pipeline's.
        guided: bound to one prompt, without guidance.
        level: of x_t.
        dtype: of x_t.

    Raises:
        UsageError: a pipeline that does more than to hand x_t to its network and take what that says.
    """
    network: Any = model.denoiser.network
    x = RecordNoise([0], model.device, dtype)(model.shape)
    asked: list[dict[int | str, Any]] = []

    def write_down(network: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        asked.append(dict(enumerate(args)) | given)

    hook = network.register_forward_pre_hook(write_down, with_kwargs=True)
    try:
        expected = guided(x, level)
    finally:
        hook.remove()
    packed = model.packing.pack(x)
    places = [place for place, value in asked[0].items() if isinstance(value, Tensor) and same(value, packed)]

    def answer(x: Tensor) -> Tensor:
        told = {**asked[0], **{place: model.packing.pack(x) for place in places}}
        args = [value for place, value in told.items() if isinstance(place, int)]
        out: Tensor = network(*args, **{place: value for place, value in told.items() if isinstance(place, str)})[0]
        return out

    def f(x: Tensor) -> Tensor:
        return x0_from(model.packing.unpack(answer(x)), x, level, model.denoiser.predicts)

    plain = len(asked) == len(places) == 1 and answer(x).shape == packed.shape
    if not (plain and torch.allclose(f(x), expected, rtol=1e-3, atol=1e-3)):
        name = type(model.pipe).__name__
        raise UsageError.of("--model", name, "a pipeline whose call hands x_t to its network and steps with the answer")
    return f


def same(value: Tensor, packed: Tensor) -> bool:
    """Whether an argument is the latents."""
    return value.shape == packed.shape and torch.equal(value, packed)

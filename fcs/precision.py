"""16 bits: how long a finite difference must be in them, and rows that they cannot hold once more in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from fcs.levels import Level, pairs
from fcs.models.base import Model
from fcs.records import Result
from fcs.rows import RowNoise, max_norm, rms
from fcs.samplers.base import ddim

COSINE = {torch.float16: 0.99, torch.bfloat16: 0.95}  # of a difference in 16 bits to the same one in float32
PROBES = 4  # pictures that are sampled to measure at
FIRST = 0.25  # largest entry of the perturbation that is measured with
SHORTEST, LONGEST = 2.0**-10, 2.0**-1


@contextmanager
def float32(model: Model) -> Iterator[None]:
    """The model's network in the arithmetic of its weights, whatever it runs in otherwise."""
    before = model.denoiser.autocast
    model.denoiser.autocast = None
    try:
        yield
    finally:
        model.denoiser.autocast = before


def mended(result: Result, again: Result, slots: Sequence[int]) -> Result:
    """A batch's result with some slots from a second try; the others stay to the bit."""

    def tuples(first: tuple, second: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(second[slot] if slot in slots else one for slot, one in enumerate(first))

    def pictures(first: Tensor, second: Tensor) -> Tensor:
        made = first.clone()
        made[list(slots)] = second[list(slots)]
        return made

    return replace(
        result,
        images=pictures(result.images, again.images),
        residuals=tuples(result.residuals, again.residuals),
        calls=tuples(result.calls, again.calls),
        finite=tuples(result.finite, again.finite),
        further={name: pictures(made, again.further[name]) for name, made in result.further.items()},
        scores=tuples(result.scores, again.scores),
        errors={slot: text for slot, text in result.errors.items() if slot not in slots}
        | {slot: text for slot, text in again.errors.items() if slot in slots},
        courses=tuples(result.courses, again.courses),
        redone=tuple(slots),
    )


@torch.no_grad()
def lengths(model: Model, levels: Sequence[Level]) -> dict[float, float]:
    """Rms of the perturbation by t that keeps a difference clear of the rounding of the model's autocast type.

    Along plain sampling, with the error of half-picture inpainting towards another sample: how far the difference in
    16 bits is off the same one in float32, as a share of it. The share falls as the perturbation grows, so one
    measurement tells where it is small enough (the error-based rule of finite differences: rounding over length), and
    the next power of two is taken, for all processes to find the same.

    Args:
        model: with autocast to 16 bits.
        levels: of the walk.
    """
    assert model.denoiser.autocast is not None
    tolerated = math.tan(math.acos(COSINE[model.denoiser.autocast]))
    randn = RowNoise(range(PROBES), model.device)
    known = torch.zeros(model.shape, device=model.device)
    known[..., : model.shape[-1] // 2] = 1
    guided = model.guided([""] * PROBES)
    x, found = levels[0].sigma * randn(model.shape), {}
    for t, s in pairs(levels):
        rounded = guided(x, t)
        with float32(model):
            x0 = guided(x, t)
            e = known * (x0.roll(1, 0) - x0)
            h = FIRST / max_norm(e)
            exact = guided(x + h * e, t) - x0
        off = rms(guided(x + h * e, t) - rounded - exact) / rms(exact)
        needed = (off / tolerated * rms(h * e)).max().item()
        found[t.t] = min(max(2.0 ** math.ceil(math.log2(needed)), SHORTEST), LONGEST) if needed > 0 else SHORTEST
        x = ddim(x, x0, t, s, randn)
    return found

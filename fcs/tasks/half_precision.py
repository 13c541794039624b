"""16 bits: how long a finite difference must be in them, and results of records that were sampled again in float32."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.autocast import is_off, no_autocast
from fcs.core.denoiser import Guided
from fcs.core.directions import Newton
from fcs.core.errors import UsageError
from fcs.core.levels import Level, pairs
from fcs.core.per_sample import RecordNoise, max_norm, rms
from fcs.core.records import Result
from fcs.core.tf32 import no_tf32, tf32_is_on
from fcs.models.base import Model
from fcs.samplers.base import ddim_step

COSINE = {
    torch.float16: 0.99,
    torch.bfloat16: 0.95,
}  # required cosine of a difference in 16 bits to float64's
PROBES = 4  # pictures that are sampled for the measurement
PROMPT = "a picture"  # their prompt, where there is guidance
FIRST = 0.25  # largest entry of the perturbation that measures
MOVE = 0.5  # step size of the short run along which it is measured
LEAST_COSINE = 0.8  # on digits and emoji .5 was as bad as no direction, .9 as good as float32
SHORTEST, LONGEST = 2.0**-10, 2.0**-1


def rounds(model: Model) -> bool:
    """Whether the network's products have fewer bits than float32's."""
    in_16_bits = model.denoiser.autocast is not None and not is_off()
    return in_16_bits or (model.device.type == "cuda" and tf32_is_on())


@contextmanager
def float32() -> Iterator[None]:
    """Full float32: neither autocast in this thread nor TF32 in any; for measurements before threads are started."""
    with no_autocast(), no_tf32():
        yield


def merged(result: Result, again: Result, slots: Sequence[int]) -> Result:
    """A batch's result with some slots taken from a second one; the others keep every bit."""

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
        residual_traces=tuples(result.residual_traces, again.residual_traces),
        redone=tuple(slots),
    )


@torch.no_grad()
def lengths(
    model: Model, levels: Sequence[Level], guidance: float = 1.0, negative_prompt: str = ""
) -> dict[float, float]:
    """Rms of the perturbation by t at which a difference in 16 bits is nearest to ``J e``.

    The relative rounding error of a difference falls with its length h as a / h, its truncation error grows as b h (the
    forward difference is of first order), so their sum is least at sqrt(a / b) (Gill, Murray, Saunders and Wright
    1983). Both are measured along a short run of half-picture inpainting towards other samples, one move a level: a
    by the same difference in 16 bits and in float32, b by one of half the length. It is rounded to
    a power of two, so that all processes find the same.

    Args:
        model: with autocast to 16 bits, or in TF32.
        levels: of the run.
        guidance: diffusers' guidance_scale: it amplifies the rounding difference of the two branches.
        negative_prompt: of guidance's other branch.
    """
    randn = RecordNoise(range(PROBES), model.device)
    guided = model.guided(["" if guidance == 1.0 else PROMPT] * PROBES, negative_prompt, guidance)
    known = torch.zeros(model.shape, device=model.device)
    known[..., : model.shape[-1] // 2] = 1
    with float32():
        target = _sampled(guided, levels[0].sigma * randn(model.shape), levels, randn).roll(1, 0)
    x, found = levels[0].sigma * randn(model.shape), {}
    for t, s in pairs(levels):
        with float32():
            x0 = guided(x, t)
            e = known * (target - x0)
            h = FIRST / max_norm(e)
            exact, half = (guided(x + h * e, t) - x0) / h, (guided(x + h / 2 * e, t) - x0) / (h / 2)
        rounded = (guided(x + h * e, t) - guided(x, t)) / h
        apart = rms(h * e).square() / 2 * rms(rounded - exact) / rms(half - exact)
        length = apart.log2().nanmean().div(2).nan_to_num().clamp(math.log2(SHORTEST), math.log2(LONGEST))
        found[t.t] = 2.0 ** round(length.item())
        with float32():
            x = x + MOVE * exact / max_norm(exact)
            x = ddim_step(x, guided(x, t), t, s, randn)
    return found


@torch.no_grad()
def check_agreement(
    model: Model, levels: Sequence[Level], direction: Newton, guidance: float = 1.0, negative_prompt: str = ""
) -> None:
    """Check that ``J e`` in 16 bits points where float32's does, at three levels of noised samples.

    Nothing is known of a network in any pipeline: it may round where nobody looks.

    Args:
        model: in 16 bits.
        levels: of the run.
        direction: with the lengths that were measured.
        guidance: diffusers' guidance_scale.
        negative_prompt: of guidance's other branch.

    Raises:
        UsageError: a cosine below ``LEAST_COSINE``.
    """
    randn = RecordNoise(range(PROBES), model.device)
    guided = model.guided(["" if guidance == 1.0 else PROMPT] * PROBES, negative_prompt, guidance)
    known = torch.zeros(model.shape, device=model.device)
    known[..., : model.shape[-1] // 2] = 1
    steps = len(levels) - 1
    with float32():
        made = _sampled(guided, levels[0].sigma * randn(model.shape), levels, randn)
    for t in (levels[share * steps // 4] for share in (1, 2, 3)):
        x = t.alpha * made + t.sigma * randn(model.shape)
        with float32():
            x0, J = direction.linearize(partial(guided, level=t), x, t)
            e = known * (made.roll(1, 0) - x0)
            exact = J(e)
        rounded = direction.linearize(partial(guided, level=t), x, t)[1](e)
        cosine = F.cosine_similarity(exact.flatten(1), rounded.flatten(1)).mean().item()
        if not cosine >= LEAST_COSINE:
            expected = f"{LEAST_COSINE:g} or more; take float32 or fp16, or sampler.direction.central=true"
            raise UsageError.of(f"{model.denoiser.autocast}: cosine of J e to float32's", f"{cosine:.2f}", expected)


def _sampled(f: Guided, x: Tensor, levels: Sequence[Level], randn: RecordNoise) -> Tensor:
    """Plain samples from noise ``x``."""
    for t, s in pairs(levels):
        x = ddim_step(x, f(x, t), t, s, randn)
    return x

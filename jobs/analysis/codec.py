"""How far the autoencoder's part of an error goes astray in fewer bits: VAE Newton's vectors against float32's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from analysis.rounding import cosines, spread
from fcs.core.directions import Newton
from fcs.core.per_sample import max_norm
from fcs.core.records import Batch
from fcs.models import Model
from fcs.tasks.measured import EncodedMeasured
from fcs.tasks.pipeline import Pipeline

Row = dict[str, Any]
Met = tuple[EncodedMeasured, Tensor]
EXACT = 1e-4  # difference of the reference in float64: what is cut off is far below what float32 rounds
BITS = 13  # of float32's 23 that TF32 drops


def errors_met(solver: Pipeline, batch: Batch, every: int) -> list[Met]:
    """Every so-many-th error of a run in float32: the constraint and the x_0 at which it is asked for one."""
    met: list[Met] = []
    error = EncodedMeasured.error

    def noting(self: EncodedMeasured, x0: Tensor) -> Tensor:
        met.append((self, x0))
        return error(self, x0)

    with patch.object(EncodedMeasured, "error", noting):
        solver(batch)
    return met[::every]


def measured(model: Model, met: list[Met], differences: list[float]) -> list[Row]:
    """A row for each arithmetic, part of the autoencoder that has it, and difference: cosines to the exact error.

    Args:
        model: in float32, with an autoencoder ``vae``.
        met: where.
        differences: largest entries of the perturbation of the picture.
    """
    exact = [_exact(model, *one) for one in met]
    rows = []
    for way, rounding in WAYS.items():
        for part in ("encoder", "decoder", "both") if way != "float32" else ("both",):
            for difference in differences:
                found = (_error(model, *one, way=rounding, part=part, difference=difference) for one in met)
                seen = torch.cat([_cosine(one, true) for one, true in zip(found, exact, strict=True)])
                rows.append({"arithmetic": way, "part": part, "difference": difference, **spread(seen)})
    return rows


def table(rows: list[Row]) -> str:
    """For people: least and mean cosine by difference."""
    differences = sorted({row["difference"] for row in rows})
    lines = ["| arithmetic | in | " + " | ".join(f"{one:g}" for one in differences) + " |"]
    lines.append("|---" * (2 + len(differences)) + "|")
    for way, part in dict.fromkeys((row["arithmetic"], row["part"]) for row in rows):
        own = {row["difference"]: row for row in rows if (row["arithmetic"], row["part"]) == (way, part)}
        cells = (f"{own[one]['least']:.4f} ({own[one]['mean']:.4f})" for one in differences)
        lines.append(f"| {way} | {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _error(
    model: Model,
    constraint: EncodedMeasured,
    x0: Tensor,
    way: Callable[[Model], AbstractContextManager[None]],
    part: str,
    difference: float,
) -> Tensor:
    """Each record's error, with some of the autoencoder rounded."""
    with way(model) if part in ("decoder", "both") else nullcontext():
        picture = constraint.decode(x0)
    picture = picture.float()
    wanted = constraint.error_in_pixels(picture)
    with way(model) if part in ("encoder", "both") else nullcontext():
        return Newton(difference).product(constraint.encode, picture, wanted)


def _exact(model: Model, constraint: EncodedMeasured, x0: Tensor) -> Tensor:
    """The same in float64, over a short central difference."""
    model.double()
    picture = constraint.decode(x0.double())
    found = Newton(EXACT, central=True).product(constraint.encode, picture, constraint.error_in_pixels(picture))
    model.float()
    return found


def _cosine(found: Tensor, true: Tensor) -> Tensor:
    """Of each record that has an error."""
    return cosines(found, true)[max_norm(true).flatten() > 0]


@contextmanager
def float32(model: Model) -> Iterator[None]:
    """The autoencoder as it is."""
    yield


@contextmanager
def bf16(model: Model) -> Iterator[None]:
    """Products in bf16; what lies between them in float32, as runs have it in the denoiser."""

    def widened(part: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out.float()

    handles = [part.register_forward_hook(widened) for part in _products(model)]
    with _removed(handles), torch.autocast(model.device.type, torch.bfloat16):
        yield


@contextmanager
def tf32(model: Model) -> Iterator[None]:
    """Both factors of convolutions and linear layers in TF32's ten bits, their products summed in float32."""

    def rounded(part: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(ten_bits(one) for one in given)

    parts = list(_products(model))
    handles, weights = [part.register_forward_pre_hook(rounded) for part in parts], [part.weight for part in parts]
    for part, weight in zip(parts, weights, strict=True):
        part.weight = nn.Parameter(ten_bits(weight), requires_grad=False)
    try:
        with _removed(handles):
            yield
    finally:
        for part, weight in zip(parts, weights, strict=True):
            part.weight = weight


WAYS: dict[str, Callable[[Model], AbstractContextManager[None]]] = {"float32": float32, "tf32": tf32, "bf16": bf16}


def ten_bits(x: Tensor) -> Tensor:
    """Float32 rounded to the nearest number of ten mantissa bits, ties to even."""
    bits = x.contiguous().view(torch.int32)
    nearest = bits + (1 << BITS - 1) - 1 + ((bits >> BITS) & 1)
    return (nearest & -(1 << BITS)).view(torch.float32)


def _products(model: Model) -> Iterator[nn.Conv2d | nn.Linear]:
    vae = model.get_submodule("vae")
    return (part for part in vae.modules() if isinstance(part, nn.Conv2d | nn.Linear))


@contextmanager
def _removed(handles: list[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

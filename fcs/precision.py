"""What 16 bits cannot hold: a batch once more in float32, and the rows of it that are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from fcs.models.base import Model
from fcs.records import Result


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

"""What 16 bits make NaN of is sampled again in float32; its batch mates stay to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import pytest
import torch
from test_fitting import batch, solver
from torch import Tensor, nn

import fcs
from fcs.fitting import joined
from fcs.models import Model
from fcs.precision import float32, mended
from fcs.records import Result
from fcs.tasks import Inpaint


class Overflowing(nn.Module):
    """A network that gives NaN for the second row, in 16 bits alone or always."""

    def __init__(self, network: nn.Module, always: bool = False) -> None:
        super().__init__()
        self.network, self.always = network, always

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        out = self.network(x, t, cond).float()
        if self.always or torch.is_autocast_enabled("cpu"):
            out[1] = torch.nan
        return out


@pytest.fixture
def model() -> Iterator[Model]:
    model = fcs.load("digits-16", device="cpu")
    model.denoiser.autocast = torch.bfloat16
    network = model.denoiser.network
    yield model
    model.denoiser.network, model.denoiser.autocast = network, None


def made(model: Model) -> Result:
    return solver(model, Inpaint())(batch(3))


def test_a_row_that_overflows_is_sampled_again_in_float32(model: Model) -> None:
    sixteen = made(model)
    with float32(model):
        exact = made(model)
    model.denoiser.network = Overflowing(model.denoiser.network)
    mixed = made(model)
    assert mixed.redone == (1,)
    assert mixed.finite == (True, True, True)
    assert torch.equal(mixed.images[1], exact.images[1])
    assert torch.equal(mixed.images[[0, 2]], sixteen.images[[0, 2]])
    assert mixed.residuals == (sixteen.residuals[0], exact.residuals[1], sixteen.residuals[2])
    assert not torch.equal(sixteen.images[1], exact.images[1])


def test_what_float32_cannot_hold_either_stays_lost(model: Model) -> None:
    model.denoiser.network = Overflowing(model.denoiser.network, always=True)
    mixed = made(model)
    assert (mixed.finite, mixed.redone) == ((True, False, True), (1,))
    model.denoiser.autocast = None
    assert made(model).redone == ()


def test_a_mended_result_has_every_field_of_the_right_slot(model: Model) -> None:
    def every(value: int) -> Result:
        picture, each = torch.full((2, 1, 4, 4), value, dtype=torch.uint8), (value,) * 2
        scores = ({"a": float(value)},) * 2
        errors, courses = {0: f"e{value}", 1: f"e{value}"}, ((float(value),),) * 2
        return Result(picture, each, each, (True,) * 2, 1.0, {"more": picture}, scores, errors, courses)

    mixed = mended(every(1), every(2), [1])
    for name in ("images", "residuals", "calls", "scores", "courses"):
        first, second = getattr(mixed, name)
        assert (str(first), str(second)) == (str(getattr(every(1), name)[0]), str(getattr(every(2), name)[1])), name
    assert torch.equal(mixed.further["more"][:, 0, 0, 0], torch.tensor([1, 2], dtype=torch.uint8))
    assert mixed.errors == {0: "e1", 1: "e2"}
    checked = {"images", "residuals", "calls", "scores", "courses", "further", "errors"}
    assert {field.name for field in fields(Result)} == checked | {"finite", "seconds", "memory", "redone"}


def test_joined_parts_say_which_were_sampled_again(model: Model) -> None:
    model.denoiser.network = Overflowing(model.denoiser.network)
    one, two = (solver(model, Inpaint())(batch(4).part(first, first + 2)) for first in (0, 2))
    assert joined(one, two).redone == (1, 3)

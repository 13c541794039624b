"""Pipelines in 16 bits: the products alone are rounded, whatever the network is made of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fcs
from families.builders import FAMILIES
from fcs.core.autocast import no_autocast
from fcs.core.directions import Newton
from fcs.core.errors import UsageError
from fcs.core.products import Products
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.samplers.inexact_newton import InexactNewton

pytestmark = [pytest.mark.families, pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated")]
SHORT = 0.02  # a perturbation five times the spacing of bf16 near 1


@pytest.fixture(params=list(FAMILIES), scope="module")
def model(request: pytest.FixtureRequest) -> DiffusersPipeline:
    return DiffusersPipeline(FAMILIES[request.param]().to(torch.bfloat16), (32, 32))


def cosines(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one.flatten(1), other.flatten(1))


def test_a_difference_survives_bf16(model: DiffusersPipeline) -> None:
    x, e = torch.randn(2, 2, *model.shape, generator=torch.Generator().manual_seed(1))
    for level in model.schedule.levels(4)[1:4]:
        guided = model.guided(["red", "x"])
        change = guided(x + SHORT * e, level) - guided(x, level)
        with no_autocast():
            exact = guided(x + SHORT * e, level) - guided(x, level)
        # The worst is Stable Diffusion's network predicting v, whose x_0 is largely x_t itself.
        assert (cosines(change, exact) > 0.85).all()


def test_float32_arithmetic_is_that_of_float32_weights(pipe_of: Callable[[str], Any]) -> None:
    """``no_autocast`` computes with the rounded weights, widened."""
    half = FAMILIES["flux"]().to(torch.bfloat16)
    full = deepcopy(half).to(torch.float32)
    models = [DiffusersPipeline(pipe, (32, 32)) for pipe in (half, full)]
    x, level = torch.randn(1, *models[0].shape), models[0].schedule.levels(4)[1]
    with no_autocast():
        made = [model.guided(["red"])(x, level) for model in models]
    # The text is read in bf16 by the one and in float32 by the other.
    assert cosines(*made) > 0.9999


def test_only_products_are_rounded() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)).bfloat16()
    x, kinds = torch.randn(3, 8), []

    def call(x: Tensor) -> Tensor:
        h = layers[0](x.to(torch.bfloat16))  # a cast that the network's own code makes
        kinds.append(h.dtype)
        h = h + torch.ones(8, dtype=torch.bfloat16)
        kinds.append(h.dtype)
        return layers[4](layers[3](layers[2](layers[1](h))))

    products = Products(torch.bfloat16)
    made = products.around(call, x, exact=False)
    exact = deepcopy(layers).float()
    assert set(kinds) == {torch.float32}
    assert made.dtype == torch.float32
    # First and last layer exactly, of the one between the factors and the outcome rounded.
    h = exact[1](exact[0](x) + 1)
    between = F.linear(h.bfloat16(), layers[2].weight, layers[2].bias).float()
    torch.testing.assert_close(made, exact[4](exact[3](between)), rtol=1e-5, atol=1e-6)
    assert layers[0].weight.dtype == torch.bfloat16


def test_in_place_operations_keep_their_tensor() -> None:
    kept = torch.zeros(4, dtype=torch.bfloat16)

    def call(x: Tensor) -> Tensor:
        kept.add_(x.to(torch.bfloat16))
        kept[0] = 5.0
        return x

    Products(torch.bfloat16).around(call, torch.ones(4), exact=True)
    assert kept.tolist() == [5.0, 1.0, 1.0, 1.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "sana"
    FAMILIES["sana"]().save_pretrained(path)
    return path


def test_a_folder_in_bf16_meets_the_constraint_as_in_float32(folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    residuals = []
    for precision in ("32", "bf16"):
        loaded = fcs.load(folder, device="cpu", size=(32, 32), precision=precision)
        kinds = {name: next(part.parameters()).dtype for name, part in loaded.parts.items()}
        expected = torch.bfloat16 if precision == "bf16" else torch.float32
        assert kinds == {"transformer": expected, "text_encoder": expected, "vae": torch.float32}
        sampler = InexactNewton(Newton("auto"))
        made = fcs.inpaint(loaded, image, mask, "red", steps=4, sampler=sampler, progress=False)
        residuals.append(made.metrics[0]["residual"])
    assert residuals[1] < 1.2 * residuals[0] + 0.02


def test_a_folder_in_float32_whose_network_begins_with_a_table(tmp_path: Path) -> None:
    """SD 3's positions: they are in float32 in any case, by which diffusers without accelerate takes all weights."""
    FAMILIES["sd3"]().save_pretrained(tmp_path / "sd3")
    loaded = fcs.load(tmp_path / "sd3", device="cpu", size=(32, 32), precision="bf16")
    assert {weights.dtype for weights in loaded.pipe.transformer.parameters()} == {torch.bfloat16}
    made = fcs.sample(loaded, prompt="red", steps=1, progress=False)
    assert made.images[0].size == (32, 32)


def test_a_direction_that_is_rounded_away_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = fcs.load(folder, device="cpu", size=(32, 32), precision="bf16")
    product = Products._product

    def coarse(self: Products, func: Any, args: Any, kwargs: Any) -> Tensor:
        """To quarters, as if somebody's own kernel did so."""
        made = product(self, func, args, kwargs)
        return made if self.exact else (made * 4).round() / 4

    monkeypatch.setattr(Products, "_product", coarse)
    image = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(UsageError, match=r"bfloat16: cosine of J e to float32's=-?0\.\d+: expected 0\.8 or more"):
        fcs.inpaint(loaded, image, image[:, :, 0] + 255, steps=4, sampler=InexactNewton(Newton("auto")), progress=False)

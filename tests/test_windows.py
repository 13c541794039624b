"""Large pictures window by window: the whole picture's x_0 where it must be, no edge where a window begins."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fcs
from fcs.core.denoiser import Denoiser
from fcs.core.errors import UsageError
from fcs.core.levels import Level
from fcs.core.windows import Windows, starts
from fcs.models import Model
from fcs.tools.cli.predict import main

LEVEL = Level(500, 0.8, 0.6)
BLOCK = 4


class Blocks(nn.Module):
    """The eps network of a Gaussian prior: squares of ``BLOCK`` entries that are independent of each other."""

    def __init__(self) -> None:
        super().__init__()
        root = torch.randn(BLOCK**2, BLOCK**2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.covariance = root @ root.T

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        noisy = LEVEL.alpha**2 * self.covariance + LEVEL.sigma**2 * torch.eye(BLOCK**2, dtype=torch.float64)
        blocks = F.unfold(x, BLOCK, stride=BLOCK)
        eps = LEVEL.sigma * torch.linalg.solve(noisy, blocks)
        return F.fold(eps, x.shape[2:], BLOCK, stride=BLOCK)


class Local(nn.Module):
    """A network whose output depends on the entries beside each, like that of a stationary prior."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return F.conv2d(x, torch.arange(1.0, 10.0, dtype=x.dtype).view(1, 1, 3, 3) / 50, padding=1)


class MeanOfAll(nn.Module):
    """A network whose windows disagree: each is its own mean everywhere."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        return x.mean((2, 3), keepdim=True).expand_as(x)


def x0(network: nn.Module, x: Tensor, windows: Windows | None) -> Tensor:
    denoiser = Denoiser(network, "eps")
    denoiser.windows = windows
    return denoiser(x, LEVEL)


def noise(height: int, width: int) -> Tensor:
    return torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("side", "window", "overlap"), [(16, 16, 4), (17, 16, 4), (28, 16, 4), (100, 16, 15), (7, 16, 4)]
)
def test_windows_cover_a_side_and_are_as_few_as_can_be(side: int, window: int, overlap: int) -> None:
    found = starts(side, window, overlap)
    assert found[0] == 0
    assert found[-1] == max(0, side - window)
    assert all(0 < b - a <= window - overlap for a, b in pairwise(found))
    assert side <= window or len(found) == 1 + -(-(side - window) // (window - overlap))


def test_independent_blocks_are_those_of_the_whole_picture() -> None:
    """No window cuts a block (it begins at 0 and 12), so each has all that x_0 depends on."""
    x, windows = noise(28, 28), Windows(16, 16, 4)
    assert windows.count(28, 28) == 4
    assert torch.allclose(x0(Blocks(), x, windows), x0(Blocks(), x, None), rtol=0, atol=1e-12)


def test_a_stationary_prior_differs_beside_inner_borders_only() -> None:
    x, windows = noise(20, 28), Windows(16, 16, 4)
    same = torch.ones(20, 28, dtype=torch.bool)
    for axis, side in enumerate((20, 28)):
        for start in starts(side, 16, 4):
            borders = [place for place in (start, start + 15) if place not in (0, side - 1)]
            same.index_fill_(axis, torch.tensor(borders, dtype=torch.long), False)
    whole, found = (x0(Local(), x, one) for one in (None, windows))
    assert torch.allclose(found[..., same], whole[..., same], rtol=0, atol=1e-12)
    assert not torch.allclose(found[..., ~same], whole[..., ~same])


def test_a_picture_of_one_window_is_the_networks_own() -> None:
    x = noise(16, 12)
    assert torch.allclose(x0(Local(), x, Windows(16, 16, 4)), x0(Local(), x, None), rtol=0, atol=1e-14)


@pytest.mark.parametrize("overlap", [1, 4, 8])
def test_where_windows_disagree_there_is_a_slope_and_no_edge(overlap: int) -> None:
    """Between two windows with outputs a and b each of the steps of the overlap is (a - b) / (overlap + 1)."""
    side = 32 - overlap
    x = torch.zeros(1, 1, 16, side, dtype=torch.float64)
    x[..., 16:] = 1
    found = Windows(16, 16, overlap)(MeanOfAll(), x, torch.zeros(1), None)[0, 0, 0]
    height = (found[-1] - found[0]).abs()
    assert height > 0
    assert torch.allclose(found.diff().abs().max(), height / (overlap + 1))


def test_a_panorama_is_one_picture_to_the_constraint() -> None:
    model = fcs.load("faces-64", device="cpu", size=(64, 112))
    picture = np.random.default_rng(0).integers(0, 256, (64, 112, 3)).astype(np.uint8)
    mask = np.zeros((64, 112), np.uint8)
    mask[20:44, 40:72] = 255  # over the border of both windows
    whole = fcs.inpaint(model, picture, mask, steps=1, progress=False)
    model.use_windows(16)
    assert model.way.endswith("2 windows of 64x64 pixels a call")
    made = fcs.inpaint(model, picture, mask, steps=1, progress=False)
    result = np.array(made.images[0])
    assert result.shape == picture.shape
    assert np.array_equal(result[mask == 0], picture[mask == 0])
    assert made.metrics[0]["nfe"] == whole.metrics[0]["nfe"]
    assert not np.array_equal(result, np.array(whole.images[0]))


def test_gradients_pass_through_windows() -> None:
    x = noise(20, 28).requires_grad_()
    x0(Local(), x, Windows(16, 16, 4)).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


def test_an_overlap_that_cannot_be_is_one_line(
    digits: Model, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    only = "only Stable Diffusion's network, of a folder or checkpoint, sees a large picture window by window"
    with pytest.raises(UsageError, match=rf"^model\.overlap=8: expected null: {only}"):
        digits.use_windows(8)
    assert main(["--config", "digits_inpaint", f"out={tmp_path}/out", "--dry-run", "model.overlap=8"]) == 2
    assert capsys.readouterr().err == f"fcs-predict: model.overlap=8: expected null: {only}\n"
    run = ["--config", "faces_inpaint", f"out={tmp_path}/out", "--dry-run"]
    assert main([*run, "model.overlap=64"]) == 2
    said = capsys.readouterr().err
    assert said == "fcs-predict: model.overlap=64: expected 1 to 63, less than the 64x64 pixels of a window\n"
    assert main([*run, "model.overlap=16", "model.lora=style.safetensors"]) == 2
    assert f"model.overlap=16: expected null beside model.lora: {only}" in capsys.readouterr().err
    assert main([*run, "model.size=[64,128]", "model.overlap=16", "data.resize=pad"]) == 0
    assert "3 windows of 64x64 pixels a call" in capsys.readouterr().out

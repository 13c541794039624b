"""Operators: linear, each with its true transpose, each undone as far as it can be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fcs.core.operators
from fcs.core.operators import Blur, Downsample, GaussianBlur, Grey, MotionBlur, Operator, Pixels
from fcs.engine.config.key_help import describe
from fcs.tools.cli.predict import main


def given() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(2, 1, 16, 16, generator=generator, dtype=torch.float64) < 0.4).double()


OPERATORS: dict[str, Operator] = {
    "bicubic": Downsample(4),
    "average": Downsample(4, "average"),
    "mirrored": Downsample(4, "mirrored"),
    "gaussian": GaussianBlur(1.5),
    "motion": MotionBlur(7, 30),
    "grey": Grey(),
    "pixels": Pixels(given()),
}


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", OPERATORS)
def test_linear_and_row_by_row(name: str) -> None:
    A, x, z = OPERATORS[name].A, pictures(), pictures(1)
    torch.testing.assert_close(A(2 * x - 3 * z), 2 * A(x) - 3 * A(z), rtol=0, atol=1e-12)
    moved = x.clone()
    moved[1] += 1
    torch.testing.assert_close(A(moved)[0], A(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_dot_product(name: str) -> None:
    operator, x = OPERATORS[name], pictures()
    y = torch.randn_like(operator.A(x))
    assert (operator.A(x) * y).sum().item() == pytest.approx((x * operator.A_adjoint(y)).sum().item(), rel=1e-10)


class Crossings(TorchDispatchMode):
    """Counts the copies that leave the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [one for one in tree_leaves(args) if isinstance(one, torch.Tensor)]
        if isinstance(out, torch.Tensor) and out.device.type != "cpu":
            self.count += bool(given) and all(one.device.type == "cpu" for one in given)
        return out


@pytest.mark.parametrize("operator", [GaussianBlur(1.5), MotionBlur(7, 30), Grey()], ids=lambda one: type(one).__name__)
def test_constants_go_to_a_device_once(operator: Operator) -> None:
    """A copy from the CPU at every application would stop a GPU's queue; torch's meta device stands for the GPU."""
    x = pictures().to("meta")
    with Crossings() as crossings:
        for _ in range(3):
            y = operator.A(x)
            operator.A_dagger(y) if isinstance(operator, Grey) else None
    assert y.device.type == "meta"
    assert crossings.count <= 1


@pytest.mark.parametrize("name", ["average", "grey", "pixels"])
def test_pseudo_inverse_in_closed_form(name: str) -> None:
    operator, x = OPERATORS[name], pictures()
    y = operator.A(x)
    torch.testing.assert_close(operator.A(operator.A_dagger(y)), y, rtol=0, atol=1e-12)
    # of least norm: equal to its own projection
    torch.testing.assert_close(operator.A_dagger(operator.A(operator.A_dagger(y))), operator.A_dagger(y))
    iterated = Operator.A_dagger(operator, y)
    torch.testing.assert_close(operator.A_dagger(y), iterated, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["gaussian", "motion"])
def test_iterations_bring_the_measurement_back(name: str) -> None:
    operator, x = OPERATORS[name], pictures()
    y = operator.A(x)
    error = operator.A(operator.A_dagger(y)) - y
    assert error.norm() < 0.05 * y.norm()


def keys_mirrored(side: int, scale: int) -> torch.Tensor:
    """``(side / scale, side)`` by the formula: Keys' cubic, a = -1/2, as wide as the scale, on a mirrored line."""
    rows = torch.zeros(side // scale, side, dtype=torch.float64)
    for row in range(side // scale):
        for place in range(-2 * scale, side + 2 * scale):
            u = abs((place + 0.5) / scale - (row + 0.5))
            near, far = 1.5 * u**3 - 2.5 * u**2 + 1, -0.5 * u**3 + 2.5 * u**2 - 4 * u + 2
            folded = place % (2 * side)
            rows[row, min(folded, 2 * side - 1 - folded)] += near if u <= 1 else far if u < 2 else 0.0
    return rows / rows.sum(1, keepdim=True)


@pytest.mark.parametrize(("height", "width", "scale"), [(16, 16, 4), (4, 24, 4), (9, 12, 3), (8, 16, 8)])
def test_mirrored_reduction_is_the_formula(height: int, width: int, scale: int) -> None:
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = keys_mirrored(height, scale) @ x @ keys_mirrored(width, scale).mT
    torch.testing.assert_close(Downsample(scale, "mirrored").A(x), expected, rtol=0, atol=1e-12)
    inside = slice(2, width // scale - 2)  # where no kernel reaches the border, it is Pillow's
    torch.testing.assert_close(
        Downsample(scale, "mirrored").A(x)[..., 2:-2, inside], Downsample(scale).A(x)[..., 2:-2, inside]
    )


def test_bicubic_enlargement_is_nearly_a_right_inverse() -> None:
    operator = Downsample(4)
    rows = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 16, 1)
    smooth = rows.expand(1, 3, 16, 16)
    y = operator.A(smooth)
    assert (operator.A(operator.A_dagger(y)) - y).abs().max() < 0.1


def test_blurs_keep_flat_pictures_and_move_nothing() -> None:
    for blur in (GaussianBlur(2.0), MotionBlur(9, 45), MotionBlur(1, 0)):
        flat = torch.full((1, 3, 32, 32), 0.3)
        torch.testing.assert_close(blur.A(flat), flat)
        torch.testing.assert_close(blur.kernel, blur.kernel.flip(0, 1))


def test_a_motion_of_one_pixel_is_none() -> None:
    assert MotionBlur(1, 0).kernel.max() > 0.49


def test_motion_runs_along_its_angle() -> None:
    upright, level = MotionBlur(9, 90).kernel, MotionBlur(9, 0).kernel
    torch.testing.assert_close(upright, level.T)
    assert (level.sum(1) > 1e-6).sum() <= 3


def test_grey_is_pillows() -> None:
    rgb = torch.randint(256, (8, 8, 3), generator=torch.Generator().manual_seed(0)).byte()
    theirs = np.array(Image.fromarray(rgb.numpy()).convert("L")).astype(float)
    ours = Grey().A(rgb.permute(2, 0, 1)[None].double())[0, 0].numpy()
    assert np.abs(ours - theirs).max() <= 1


def test_a_kernel_of_ones_own() -> None:
    kernel = torch.zeros(3, 3)
    kernel[0, 1] = 1
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(Blur(kernel).A(x)[0, 0, 1:], x[0, 0, :-1])


@pytest.mark.parametrize("make", [lambda: GaussianBlur(0), lambda: GaussianBlur(-1), lambda: MotionBlur(0.5)])
def test_senseless_sizes_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="expected"):
        make()


MIRRORED = '''
from fcs.core.operators.base import Operator


class Mirrored(Operator):
    """Pictures seen in a mirror, darkened.

    Args:
        share: of the light that is left.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def A(self, x):
        return self.share * x.flip(-1)
'''


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One new file in fcs.core.operators, as if it lay beside the others."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mirrored.py").write_text(MIRRORED)
    monkeypatch.setattr(fcs.core.operators, "__path__", [*fcs.core.operators.__path__, str(tmp_path / "new")])
    yield
    sys.modules.pop("fcs.core.operators.mirrored", None)
    vars(fcs.core.operators).pop("mirrored", None)


@pytest.mark.usefixtures("mirrored")
def test_a_new_operator_is_one_new_file(digits_shard: Path, tmp_path: Path) -> None:
    assert "with task.operator=mirrored:" in describe()
    out = tmp_path / "out"
    options = ["task=restore", "task.operator=mirrored", "task.operator.share=0.25", "task.degrade=true"]
    options += [f"data.shards={digits_shard}", "data.limit=2", "steps=2", f"out={out}"]
    assert main(["--config", "digits_inpaint", *options]) == 0
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert settings["task.operator"] == "fcs.operators.Mirrored"
    assert settings["task.operator.share"] == 0.25

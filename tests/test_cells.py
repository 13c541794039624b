"""Measurements that are not linear: cells, the nearest pictures in them, JPEG and palettes as Pillow has them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.batches import batch
from helpers.networks import Flat
from PIL import Image
from torch import Tensor

import fcs
from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.core.operators import Cells, Jpeg, Operator, Quantize, Saturation
from fcs.core.operators.jpeg_tables import TO_YCC
from fcs.core.per_sample import dot
from fcs.models import Model
from fcs.samplers import MMPS, ProjectedNewton
from fcs.tasks import Restore
from fcs.tasks.in_cell import EncodedInCell, InCell
from fcs.tasks.pipeline import check_sampler

OPERATORS: dict[str, Cells] = {
    "jpeg": Jpeg(10),
    "jpeg without subsampling": Jpeg(30, "4:4:4"),
    "palette": Quantize(8, means=0),
    "uniform": Quantize(27, "uniform"),
    "clip": Saturation(2.0),
    "highlights": Saturation(1.0, -1.0, 0.4),
}
LEFT = {"palette": 2 / 255, "uniform": 1e-4}  # by projections that are iterated


def smooth(seed: int = 0, channels: int = 3, size: int = 32) -> Tensor:
    """Two pictures in [-1, 1] that look like pictures: coarse noise, enlarged."""
    coarse = torch.randn(2, channels, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def faces(count: int) -> Tensor:
    """Pictures of the shipped faces in [-1, 1]."""
    with tarfile.open(Path(fcs.__file__).parent / "samples" / "faces" / "half.tar") as shard:
        files = [member for member in shard if "." in member.name and member.name.partition(".")[2] == "png"]
        read = [np.array(Image.open(shard.extractfile(one)).convert("RGB")) for one in files[:count]]  # type: ignore[arg-type]
    return to_float(torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2))


def eight_bit(x: Tensor) -> Tensor:
    return to_float(to_uint8(x))


@pytest.fixture(params=OPERATORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_was_measured_lies_in_its_cell(name: str) -> None:
    operator, x = OPERATORS[name], eight_bit(smooth())
    share = operator.cell(eight_bit(operator.A(x))).share_inside(x)
    assert (share > (0.999 if "jpeg" in name else 0.9999)).all(), share


def test_the_nearest_picture_is_in_the_cell_and_nearest_to_itself(name: str) -> None:
    cell = OPERATORS[name].cell(eight_bit(OPERATORS[name].A(smooth())))
    made = cell.nearest(smooth(1))
    left = LEFT.get(name, 1e-5)
    assert cell.excess(made).abs().max() < left
    assert cell.excess(made).abs().mean() < left / 10
    assert (cell.nearest(made) - made).abs().max() < left
    assert (made - smooth(1)).abs().max() > 0.1


def test_no_picture_of_the_cell_is_nearer(name: str) -> None:
    """``<x - P x, z - P x> <= 0`` for each z of a convex set: there is one nearest picture, and P gives it."""
    operator, x = OPERATORS[name], smooth(1)
    cell = operator.cell(eight_bit(operator.A(smooth())))
    nearest = cell.nearest(x)
    for seed in (2, 3):
        inside = cell.nearest(smooth(seed))
        away, along = x - nearest, inside - nearest
        if isinstance(operator, Jpeg):  # nearest in luma and chroma
            away, along = (torch.einsum("ij,njhw->nihw", TO_YCC.float(), one) for one in (away, along))
        assert (dot(away, along) <= 2e-3 * (dot(away, away) * dot(along, along)).sqrt()).all()


def test_the_error_is_minus_the_gradient_of_the_distance(name: str) -> None:
    operator, x, model = OPERATORS[name], smooth(1), Flat(1, 32)
    constraint = InCell(operator.cell(eight_bit(operator.A(smooth()))), model.decode)
    gradient, h = -constraint.error(x), 1e-3
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    measured = (constraint.loss(x + h * step) - constraint.loss(x - h * step)) / (2 * h)
    torch.testing.assert_close(dot(gradient, step), measured, rtol=0.02, atol=0.02)
    displacement = EncodedInCell(constraint.cell, model.decode, model.encode, 0.05).error(x)
    assert (dot(displacement, -gradient) > 0).all()
    assert constraint.loss(x + displacement).max() < 0.02 * constraint.loss(x).min()


def test_a_met_measurement_asks_for_no_step(name: str) -> None:
    operator, model = OPERATORS[name], Flat(1, 32)
    cell = operator.cell(eight_bit(operator.A(smooth())))
    inside = cell.nearest(smooth(1), 0.05)
    encoded = EncodedInCell(cell, model.decode, model.encode, 0.05)
    quiet = cell.excess(inside).flatten(1).abs().amax(1) == 0
    assert torch.equal(encoded.error(inside)[quiet], torch.zeros_like(inside)[quiet])
    assert encoded.residual(inside).max() < 1e-3


def test_pictures_of_a_batch_do_not_meet(name: str) -> None:
    operator, x, other = OPERATORS[name], smooth(), smooth(1)
    y, apart = operator.A(x), operator.A(torch.cat([x[:1], other[1:]]))
    assert torch.equal(y[0], apart[0])
    both, one = operator.cell(y).nearest(other), operator.cell(y[:1]).nearest(other[:1])
    torch.testing.assert_close(both[:1], one, rtol=0, atol=1e-6)


def test_grey_pictures_too() -> None:
    for operator in (Jpeg(10), Quantize(4), Quantize(4, "uniform"), Saturation()):
        x = smooth(channels=1)
        y = eight_bit(operator.A(x))
        assert y.shape == x.shape
        assert operator.cell(y).share_inside(operator.cell(y).nearest(smooth(1, 1))).min() > 0.99


def jpeg(picture: Tensor, quality: int, halved: bool) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(to_uint8(picture).permute(1, 2, 0).numpy())
    image.save(buffer, "jpeg", quality=quality, subsampling=2 if halved else 0)
    return buffer.getvalue()


def planes(data: bytes, halved: bool) -> list[Tensor]:
    """Luma and chroma minus 128 as libjpeg decodes them, each at its own size: halved it enlarges nothing."""
    found = []
    for scale in (1, 2 if halved else 1):
        image = Image.open(io.BytesIO(data))
        image.draft("YCbCr", (image.width // scale, image.height // scale))
        found.append(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() - 128)
    return [found[0][:, :1], found[1][:, 1:]]


@pytest.mark.parametrize(("quality", "chroma"), [(10, "4:2:0"), (10, "4:4:4"), (50, "4:2:0")])
def test_coefficients_are_those_of_pillows_files(quality: int, chroma: str) -> None:
    operator, halved, same, ours = Jpeg(quality, chroma), chroma == "4:2:0", [], []  # type: ignore[arg-type]
    for picture in faces(8):
        data = jpeg(picture, quality, halved)
        shown = Image.open(io.BytesIO(data))
        tables = shown.quantization
        zigzag = [np.array(tables[number]).reshape(8, 8) for number in (0, 1)]
        assert all(np.array_equal(table, own.value.numpy()) for table, own in zip(zigzag, operator._steps, strict=True))
        given = to_float(torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None])
        true = operator._counted([operator._blocks(plane) for plane in planes(data, halved)])
        same += [(a == b).flatten() for a, b in zip(operator.counts(given), true, strict=True)]
        made = operator.counts(operator.A(picture[None]))
        ours += [(a == b).flatten() for a, b in zip(made, true, strict=True)]
    assert torch.cat(same).float().mean() > 0.999
    assert torch.cat(ours).float().mean() > 0.995  # libjpeg rounds before its cosines


def test_palettes_are_those_of_pillow() -> None:
    for picture in faces(3):
        image = Image.fromarray(to_uint8(picture).permute(1, 2, 0).numpy())
        theirs = np.array(image.quantize(8, Image.Quantize.MEDIANCUT).convert("RGB"))
        ours = to_uint8(Quantize(8).A(picture[None]))[0].permute(1, 2, 0).numpy()
        assert len(np.unique(ours.reshape(-1, 3), axis=0)) <= 8
        assert (ours == theirs).all(2).mean() > 0.99


def test_a_saturated_pixel_is_a_half_line() -> None:
    operator = Saturation(2.0)
    y = torch.tensor([-1.0, 0.2, 1.0]).view(1, 1, 1, 3)
    cell = operator.cell(y)
    x = torch.tensor([-0.2, 0.4, 0.9]).view(1, 1, 1, 3)
    wanted = torch.tensor([(-1 + 1 / 255) / 2, (0.2 + 1 / 255) / 2, 0.9]).view(1, 1, 1, 3)
    torch.testing.assert_close(cell.nearest(x), wanted)
    torch.testing.assert_close(cell.share_inside(x), torch.tensor([1 / 3]))


@pytest.mark.parametrize("error", ["decoder_gradient", "vae_newton"])
def test_a_restored_picture_gives_the_measurement(error: str, digits: Model) -> None:
    digit = np.zeros((16, 16), np.uint8)
    digit[2:14, 6:9] = 200
    task = Restore(Jpeg(10), degrade=True, error=error, paste=True)  # type: ignore[arg-type]
    result = fcs.apply(digits, task, digit, steps=2, progress=False)
    assert result.metrics[0]["consistency"] == 1
    assert result.metrics[0]["psnr"]
    loose = fcs.apply(digits, Restore(Jpeg(10), degrade=True, error=error), digit, steps=2, progress=False)  # type: ignore[arg-type]
    assert 0.3 < (loose.metrics[0]["consistency"] or 0) <= 1


def test_a_file_is_a_measurement(tmp_path: Path, digits: Model) -> None:
    digit = np.zeros((16, 16), np.uint8)
    digit[2:14, 6:9] = 200
    Image.fromarray(digit).save(tmp_path / "digit.jpg", quality=10)
    made = fcs.apply(digits, Restore(Jpeg(10), paste=True), tmp_path / "digit.jpg", steps=2, progress=False)
    buffer = io.BytesIO()
    made.images[0].save(buffer, "jpeg", quality=10)
    again, given = (np.array(Image.open(file)).astype(int) for file in (buffer, tmp_path / "digit.jpg"))
    counts = (Jpeg(10).counts(to_float(torch.from_numpy(one).byte()[None, None]))[0] for one in (again, given))
    assert torch.equal(*counts)


def test_a_colours_pixels_are_wanted_to_have_its_mean() -> None:
    operator, x = Quantize(8, means=0.5), smooth(1)
    y = eight_bit(operator.A(smooth()))
    cell, plain = operator.cell(y), Quantize(8, means=0).cell(y)
    off, wanted = cell._off(x), cell.wanted(x)
    torch.testing.assert_close(cell._off(x - off), torch.zeros_like(x), rtol=0, atol=1e-5)  # a projection
    assert cell.excess(wanted).abs().max() < LEFT["palette"]
    assert (cell._off(wanted).flatten(1).norm(dim=1) < 0.9 * cell._off(plain.wanted(x)).flatten(1).norm(dim=1)).all()
    assert torch.equal(plain.wanted(x), plain.nearest(x))
    torch.testing.assert_close(cell.wanted(cell.own), cell.own)  # all means are right: nothing is wanted
    torch.testing.assert_close(operator.cell(y[:1]).wanted(x[:1]), wanted[:1], rtol=0, atol=1e-6)
    assert torch.equal(Quantize(27, "uniform").cell(y).wanted(x), Quantize(27, "uniform").cell(y).nearest(x))


def test_too_many_colours_fail_their_picture(digits: Model) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(ValueError, match="bad_palette: 256 colours, expected 8 at most"):
        fcs.apply(digits, Restore(Quantize(8)), ramp, steps=1, progress=False)
    with pytest.raises(ValueError, match="bad_palette: other colours than a uniform palette of 4"):
        fcs.apply(digits, Restore(Quantize(4, "uniform")), ramp, steps=1, progress=False)


def test_what_does_not_fit_is_refused() -> None:
    for operator, expected in ((Jpeg(), "multiples of 16"), (Quantize(9, "uniform"), "third power")):
        with pytest.raises(UsageError, match=expected):
            Restore(operator).check_fit((3, 24, 24), False)
    with pytest.raises(UsageError, match=r"task\.noise"):
        Restore(Jpeg(), noise=0.1)
    with pytest.raises(TypeError, match="no transpose"):
        Jpeg().A_adjoint(smooth())
    for error in ("decoder_gradient", "vae_newton"):
        with pytest.raises(UsageError, match="Observed"):
            check_sampler(MMPS(), Restore(Jpeg(), error=error), True)  # type: ignore[arg-type]
    check_sampler(ProjectedNewton(), Restore(Jpeg(), error="vae_newton"), False)
    with pytest.raises(UsageError, match="Projectable"):
        check_sampler(ProjectedNewton(), Restore(Jpeg()), False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jpeg(0),
        lambda: Quantize(1),
        lambda: Quantize(8, means=2),
        lambda: Saturation(0),
        lambda: Saturation(1, 0.5, 0.4),
    ],
)
def test_senseless_numbers_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match="expected"):
        make()


def test_they_are_operators_and_have_short_names() -> None:
    from fcs.engine.config.class_names import shipped

    assert all(isinstance(one, Operator) for one in OPERATORS.values())
    assert {"jpeg", "quantize", "clip"} <= set(shipped("task.operator"))
    assert "cells" not in shipped("task.operator")


def test_what_is_shown_as_given_is_the_measurement() -> None:
    pictures = batch(to_uint8(smooth()))
    given = Restore(Jpeg(10), degrade=True).given(pictures)
    assert torch.equal(given, to_uint8(Jpeg(10).A(to_float(pictures.images))))

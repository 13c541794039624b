"""Tasks: what a batch's records ask of x_0, and the pictures that are written."""

import numpy as np
import pytest
import torch
from helpers.batches import batch, images
from helpers.networks import Flat
from PIL import Image
from torch import Tensor

from fcs.core.errors import UsageError
from fcs.core.images import to_float, to_uint8
from fcs.models import Model
from fcs.tasks import Inpaint, Superres
from fcs.tasks.inpaint import Hole


def holes(size: int = 16) -> Tensor:
    """White: one corner pixel; an unaligned box; every pixel. ``(3, 1, H, W)``."""
    masks = torch.zeros(3, 1, size, size, dtype=torch.uint8)
    masks[0, 0, 0, 0] = 255
    masks[1, 0, 3:11, 6:14] = 255
    masks[2] = 255
    return masks


# Inpaint


@pytest.mark.parametrize("factor", [1, 4])
def test_a_cell_is_known_if_and_only_if_all_its_pixels_are(factor: int) -> None:
    masks = holes()
    known = Inpaint().constraint(batch(images(), masks), Flat(factor)).known
    for n, y, x in np.ndindex(3, 16 // factor, 16 // factor):
        cell = masks[n, 0, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        assert known[n, 0, y, x] == bool((cell == 0).all())


@pytest.mark.parametrize("factor", [1, 4])
def test_grey_is_softly_known_by_its_most_generated_pixel(factor: int) -> None:
    masks = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    masks[0, 0, 1, 1], masks[0, 0, 2, 2] = 51, 102
    known = Inpaint().constraint(batch(images(1), masks), Flat(factor)).known[0, 0]
    if factor == 1:
        assert known[1, 1].item() == pytest.approx(0.8)
        assert known[2, 2].item() == pytest.approx(0.6)
    else:
        assert known[0, 0].item() == pytest.approx(0.6)
    assert known[-1, -1] == 1


@pytest.mark.parametrize("factor", [1, 4])
def test_eroding_frees_the_cells_beside_the_hole(factor: int) -> None:
    masks = holes()
    unknown = 1 - Inpaint().constraint(batch(images(), masks), Flat(factor)).known[:, 0]
    eroded = 1 - Inpaint(erode=1).constraint(batch(images(), masks), Flat(factor)).known[:, 0]
    side = 16 // factor
    for n, y, x in np.ndindex(3, side, side):
        near = unknown[n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert eroded[n, y, x] == near.max()


@pytest.mark.parametrize("hole", ["fill", "grey", "mirror"])
@pytest.mark.parametrize("kind", ["pixels", "averages", "autoencoder"])
def test_hidden_pixels_never_reach_the_constraint(kind: str, hole: str, latent_model: Model) -> None:
    model = latent_model if kind == "autoencoder" else Flat(1 if kind == "pixels" else 4)
    size = model.picture_shape[1]
    masks, seen = holes(size), images(size=size)
    other = torch.where(masks == 255, images(size=size, seed=1), seen)
    assert not torch.equal(seen, other)
    task = Inpaint(hole=hole)
    one, two = task.constraint(batch(seen, masks), model), task.constraint(batch(other, masks), model)
    assert torch.equal(one.target, two.target)
    assert torch.equal(one.known, two.known)


@pytest.mark.parametrize("hole", ["fill", "mirror"])
def test_holes_are_grey_as_published_or_filled(hole: Hole) -> None:
    pictures = torch.full((3, 3, 16, 16), 255, dtype=torch.uint8)
    masks = holes()
    grey = Inpaint(hole="grey").constraint(batch(pictures, masks), Flat(1)).target
    filled = Inpaint(hole=hole).constraint(batch(pictures, masks), Flat(1)).target
    hidden = (masks == 255).expand_as(grey)
    assert torch.equal(grey[hidden], torch.zeros_like(grey[hidden]))
    torch.testing.assert_close(filled[:2], torch.ones_like(filled[:2]))  # white goes on as white


def test_the_known_target_is_the_picture() -> None:
    pictures, masks = images(), holes()
    constraint = Inpaint().constraint(batch(pictures, masks), Flat(1))
    assert torch.equal(constraint.known * constraint.target, (masks == 0) * to_float(pictures))


@pytest.mark.parametrize("factor", [1, 4])
def test_paste_gives_the_kept_bytes_back(factor: int) -> None:
    model, pictures, masks = Flat(factor), images(), holes()
    x0 = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(1))
    made = to_uint8(model.decode(x0))
    pasted = Inpaint(seam="hard").pictures(x0, batch(pictures, masks), model)
    assert torch.equal(pasted, torch.where(masks == 0, pictures, made))
    blended = Inpaint().pictures(x0, batch(pictures, masks), model)
    assert torch.equal((masks == 0) * blended, (masks == 0) * pictures)
    assert not torch.equal(blended, pasted)
    assert torch.equal(Inpaint(paste=False).pictures(x0, batch(pictures, masks), model), made)


# Superres


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bicubic_is_pillows(scale: int) -> None:
    picture = to_float(images(1, 32))[:, :1]
    small = Image.fromarray(picture[0, 0].numpy()).resize((32 // scale,) * 2, Image.Resampling.BICUBIC)
    ours = Superres(scale).operator.A(picture)[0, 0]
    torch.testing.assert_close(ours, torch.from_numpy(np.array(small)), rtol=0, atol=1e-3)


def test_average_is_the_mean_of_each_block() -> None:
    picture = to_float(images(1))
    ours = Superres(4, filter="average").operator.A(picture)
    torch.testing.assert_close(ours[0, 1, 2, 3], picture[0, 1, 8:12, 12:16].mean())


@pytest.mark.parametrize("filter", ["bicubic", "average"])
def test_reduction_is_linear(filter: str) -> None:
    A = Superres(4, filter=filter).operator.A
    a, b = to_float(images(1)), to_float(images(1, seed=1))
    torch.testing.assert_close(A(2 * a - b), 2 * A(a) - A(b), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("degrade", "side"), [(False, 4), (True, 16)])
def test_superres_takes_the_measurement_or_the_truth(degrade: bool, side: int) -> None:
    task, model = Superres(4, degrade=degrade), Flat(1)
    assert task.input_shape(model) == (3, side, side)
    given = batch(images(size=side))
    constraint = task.constraint(given, model)
    assert constraint.target.shape == (3, 3, 4, 4)
    assert constraint.error(torch.zeros(3, 3, 16, 16)).shape == (3, 3, 16, 16)
    if degrade:
        assert torch.equal(task.reference(given), given.images)
        assert torch.equal(to_float(to_uint8(constraint.target)), constraint.target)  # gone through 8 bits
        assert (constraint.residual(to_float(given.images)) < 1 / 127.5).all()  # so the truth nearly meets it
    else:
        assert task.reference(given) is None
        assert torch.equal(constraint.target, to_float(given.images))


def test_superres_is_met_by_a_picture_that_reduces_to_the_measurement() -> None:
    task, model = Superres(4, filter="average"), Flat(1)
    given = batch(images(size=4))
    x0 = to_float(given.images).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert (task.constraint(given, model).residual(x0) < 1e-6).all()


def test_superres_measures_what_a_latent_model_decodes(latent_model: Model) -> None:
    task, given = Superres(8), batch(images(2, 8))
    constraint = task.constraint(given, latent_model)
    z = torch.randn(2, *latent_model.shape, generator=torch.Generator().manual_seed(0))
    expected = (constraint.target - task.operator.A(latent_model.decode(z))).flatten(1).norm(dim=1)
    torch.testing.assert_close(constraint.loss(z), expected)
    error = constraint.error(z)
    assert error.shape == z.shape
    assert (constraint.loss(z + 1e-3 * error) < constraint.loss(z)).all()
    assert task.pictures(z, given, latent_model).shape == (2, *latent_model.picture_shape)


@pytest.mark.parametrize("scale", [1, 0, -2])
def test_superres_refuses_a_scale_below_two(scale: int) -> None:
    with pytest.raises(UsageError, match=rf"task\.scale={scale}"):
        Superres(scale)


def test_superres_refuses_a_scale_that_does_not_divide_the_model() -> None:
    with pytest.raises(UsageError, match=r"task\.scale=5: expected a divisor of the model's 16x16 pixels"):
        Superres(5).check_fit(Flat(1).picture_shape, prompted=False)

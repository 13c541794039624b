"""Restoration: the measurement is met, through the decoder's gradient or the encoder; noise is the record's own."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.batches import batch, images
from helpers.networks import Flat

from fcs.core.constraints import Measured
from fcs.core.directions import jacobian
from fcs.core.errors import UsageError
from fcs.core.images import to_float
from fcs.core.operators import Downsample, GaussianBlur, Grey, Operator
from fcs.core.per_sample import dot
from fcs.engine.config import load_config
from fcs.models import Model
from fcs.tasks import Inpaint, KnownPixels, Restore, Superres
from fcs.tasks.restore import EncodedMeasured, Error, Perturbed


def test_the_encoded_error_is_the_encoders_jacobian_times_the_pixel_error(latent_model: Model) -> None:
    pictures = batch(images(2, latent_model.picture_shape[1]))
    task = Superres(4, degrade=True, error="vae_newton", difference=1e-3)
    constraint = task.constraint(pictures, latent_model)
    assert isinstance(constraint, EncodedMeasured)
    z = 0.5 * torch.randn(2, *latent_model.shape, generator=torch.Generator().manual_seed(0))
    picture = latent_model.decode(z)
    e_x = Downsample(4).A_dagger(constraint.target - Downsample(4).A(picture))
    exact, h = deepcopy(latent_model).double(), 1e-5
    above, below = (exact.encode(picture.double() + sign * h * e_x.double()) for sign in (1, -1))
    expected = (above - below) / (2 * h)
    cosine = torch.nn.functional.cosine_similarity(constraint.error(z).flatten(1), expected.flatten(1))
    assert cosine.min() > 0.99


def test_the_encoded_error_takes_one_encoding_and_rows_do_not_notice_each_other(
    latent_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sizes = deepcopy(latent_model).double(), []
    encode = type(model).encode
    monkeypatch.setattr(type(model), "encode", lambda self, x: sizes.append(len(x)) or encode(self, x))
    z = torch.randn(3, *model.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    truth = to_float(images(3, model.picture_shape[1])).double()

    def errors(part: slice) -> torch.Tensor:
        reached = (Downsample(4).A(truth[part]), Downsample(4), model.decode, model.encode, 0.05)
        return EncodedMeasured(*reached).error(z[part])

    together = errors(slice(None))
    assert sizes == [6]
    for i in range(3):
        torch.testing.assert_close(errors(slice(i, i + 1)), together[i : i + 1], rtol=1e-8, atol=1e-9)


def test_the_encoded_error_is_exact_for_a_linear_codec() -> None:
    model, pictures = Flat(4), batch(images(2))
    constraint = Superres(8, degrade=True, filter="average", error="vae_newton").constraint(pictures, model)
    z = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    step = constraint.error(z)
    assert constraint.residual(z + step).max() < 1e-4
    assert constraint.residual(z).min() > 0.1


@pytest.mark.parametrize("error", ["decoder_gradient", "vae_newton"])
@pytest.mark.parametrize("operator", [Downsample(4), GaussianBlur(1.0), Grey()])
def test_each_error_points_downhill(error: str, operator: Downsample, latent_model: Model) -> None:
    pictures = batch(images(2, latent_model.picture_shape[1]))
    constraint = Restore(operator, degrade=True, error=error).constraint(pictures, latent_model)  # type: ignore[arg-type]
    z = 0.5 * torch.randn(2, *latent_model.shape, generator=torch.Generator().manual_seed(1))
    with torch.enable_grad():
        leaf = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(constraint.loss(leaf).sum(), leaf)
    assert error != "decoder_gradient" or (dot(constraint.error(z), -gradient) > 0).all()
    if error == "vae_newton":
        # An untrained codec's encoder does not invert its decoder; that it does is what training makes true.
        assert constraint.error(z).isfinite().all()


def test_a_met_measurement_asks_for_no_step(latent_model: Model) -> None:
    z = 0.5 * torch.randn(1, *latent_model.shape, generator=torch.Generator().manual_seed(1))
    target = Downsample(4).A(latent_model.decode(z))
    constraint = EncodedMeasured(target, Downsample(4), latent_model.decode, latent_model.encode, 0.05)
    assert torch.equal(constraint.error(z), torch.zeros_like(z))


def test_measurement_noise_has_its_size_and_is_the_records_own() -> None:
    model, clean, noisy = Flat(1, 64), Restore(GaussianBlur(), degrade=True), Restore(GaussianBlur(), True, noise=0.1)
    pictures = batch(images(3, 64))
    difference = noisy.constraint(pictures, model).target - clean.constraint(pictures, model).target
    assert difference.std().item() == pytest.approx(0.1, rel=0.05)
    alone = replace(batch(pictures.images[1:2]), seeds=(1,))
    assert torch.equal(noisy.constraint(alone, model).target[0], noisy.constraint(pictures, model).target[1])


def test_a_perturbed_error_is_taken_nearby_and_the_residual_is_not() -> None:
    model, pictures = Flat(1), batch(images(2))
    plain = Restore(GaussianBlur(1.0), True).constraint(pictures, model)
    perturbed = Restore(GaussianBlur(1.0), True, perturb=0.1).constraint(pictures, model)
    assert isinstance(perturbed, Perturbed)
    z = torch.zeros(2, *model.shape)
    first, second = perturbed.error(z), perturbed.error(z)
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain.error(z))
    assert torch.equal(perturbed.residual(z), plain.residual(z))


@pytest.mark.parametrize(
    ("operator", "shape"), [(Downsample(4), (3, 4, 4)), (GaussianBlur(), (3, 16, 16)), (Grey(), (1, 16, 16))]
)
def test_records_hold_the_measurement_or_the_truth(operator: Downsample, shape: tuple[int, int, int]) -> None:
    model = Flat(1)
    assert Restore(operator).input_shape(model) == shape
    assert Restore(operator).reference(batch(images())) is None
    assert Restore(operator, degrade=True).input_shape(model) == (3, 16, 16)


class Halved(torch.nn.Module):
    """Half as bright; what another library's operator looks like, with a tensor of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gain", torch.tensor(0.5))

    def A(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return self.gain * x

    def A_adjoint(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return self.gain * y

    def A_dagger(self, y: torch.Tensor, **_: object) -> torch.Tensor:
        return y / self.gain


class Unlike:
    """Not an operator: nothing takes a measurement back."""

    def A(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize("error", ["decoder_gradient", "vae_newton"])
def test_whatever_has_the_methods_is_an_operator(error: Error) -> None:
    assert isinstance(Halved(), Operator)
    assert not isinstance(Unlike(), Operator)
    model, pictures = Flat(4), batch(images(2))
    task = Restore(Halved(), degrade=True, error=error)  # type: ignore[arg-type]
    constraint = task.constraint(pictures, model)
    assert (constraint.residual(model.encode(to_float(pictures.images))) < 0.3).all()
    assert task.input_shape(model) == model.picture_shape
    assert Restore(Halved()).input_shape(model) == model.picture_shape  # type: ignore[arg-type]


FOREIGN = """
import torch

def none(x):
    return x

class Physics(torch.nn.Module):
    def __init__(self, gain: float = 0.5, noise=none, **kwargs):
        super().__init__()
        self.gain = gain

    def A(self, x, **kwargs):
        return self.gain * x

    def A_adjoint(self, y, **kwargs):
        return self.gain * y

    def A_dagger(self, y, **kwargs):
        return y / self.gain
"""


def test_another_librarys_operator_from_a_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    chosen = ["task=restore", "task.operator=foreign.Physics", "task.operator.gain=0.25"]
    run, settings = load_config.load(["digits_superres"], chosen)
    assert isinstance(run.task, Restore)
    assert run.task.operator.A(torch.ones(1)) == 0.25
    # What is no plain data has a name that is the same in every process: the run is pinned by it.
    assert settings["task"]["init_args"]["operator"]["init_args"]["noise"] == "foreign.none"


def test_scattered_pixels_are_each_records_own() -> None:
    model = Flat(1)
    masks = torch.randint(0, 2, (3, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte() * 255
    pictures = batch(images(), masks)
    constraint = KnownPixels().constraint(pictures, model)
    known = (masks == 0).expand(3, 3, 16, 16)
    hidden = replace(pictures, images=torch.where(known, pictures.images, 7).byte())
    z = torch.zeros(3, *model.shape)
    assert torch.equal(KnownPixels().constraint(hidden, model).error(z), constraint.error(z))
    assert (constraint.error(z)[~known] == 0).all()
    assert jacobian(lambda x: constraint.operator(x), z).diagonal(dim1=1, dim2=2).sum() == known.sum()


@pytest.mark.parametrize("arguments", [{"noise": -1}, {"perturb": float("nan")}, {"difference": 0}])
def test_senseless_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"task\."):
        Restore(Grey(), **arguments)  # type: ignore[arg-type]


def test_people_see_what_is_given() -> None:
    pictures = batch(images(2))
    assert Superres(4).given(pictures) is pictures.images
    assert Superres(4, degrade=True).given(pictures).shape == (2, 3, 4, 4)
    masks = torch.randint(0, 2, (2, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte() * 255
    masked, hidden = batch(images(2), masks), (masks > 0).expand(2, 3, 16, 16)
    for task in (KnownPixels(), Inpaint()):
        assert torch.equal(task.given(masked)[~hidden], masked.images[~hidden])
        assert (task.given(masked)[hidden] == 128).all()


@pytest.mark.parametrize("error", ["decoder_gradient", "vae_newton"])
def test_what_lies_within_the_noise_asks_for_no_step(error: Error) -> None:
    model, pictures = Flat(4), batch(images(3))
    operator, noise = Downsample(8, "average"), 0.1
    constraint = Restore(operator, degrade=True, error=error, noise=noise).constraint(pictures, model)
    assert isinstance(constraint, Measured)
    within, beyond = (model.encode(operator.A_dagger(constraint.target + share * noise)) for share in (0.9, 1.1))
    assert torch.equal(constraint.error(within), torch.zeros_like(within))
    assert (constraint.error(beyond).flatten(1).abs().amax(1) > 0).all()
    torch.testing.assert_close(constraint.residual(within), torch.full((3,), 0.09), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("operator", "left"), [(Downsample(4, "average"), 1e-5), (Downsample(4), 0.05), (Grey(), 1e-5), (Halved(), 1e-5)]
)
def test_a_pasted_picture_measures_as_given(operator: Operator, left: float) -> None:
    model, pictures = Flat(1), batch(images(3) // 2 + 64)  # far from 0 and 255, where pictures are clipped
    z = torch.full((3, *model.shape), 0.4)
    missed = []
    for paste in (False, True):
        task = Restore(operator, degrade=True, paste=paste)
        constraint = task.constraint(pictures, model)
        made = task.pictures(z, pictures, model)
        missed.append(constraint.target - operator.A(to_float(made)))
    assert missed[0].abs().max() > 0.2
    # What is left beside the operator's own is the rounding to 8 bits.
    assert missed[1].abs().max() <= left * missed[0].abs().max() + 1.5 / 255


def test_a_noisy_measurement_is_not_pasted() -> None:
    with pytest.raises(UsageError, match=r"task\.paste"):
        Superres(4, noise=0.1, paste=True)

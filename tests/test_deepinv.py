"""deepinv's operators are ours as they are; skipped where deepinv or what it needs is not installed."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from helpers.batches import batch, images

from fcs.core.errors import UsageError
from fcs.core.operators import Operator
from fcs.core.operators.linearity import check_linear
from fcs.engine.python_arguments import chosen
from fcs.models import Model
from fcs.tasks import Restore

physics = pytest.importorskip("deepinv.physics", reason="deepinv is not installed")

SIZE = (3, 64, 64)


def operators() -> dict[str, Operator]:
    mask = (torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    return {
        "downsampling": physics.Downsampling(img_size=SIZE, filter="bicubic", factor=4),
        "blur": physics.Blur(filter=physics.blur.gaussian_blur(sigma=(1.0, 1.0)), padding="circular"),
        "pixels": physics.Inpainting(img_size=SIZE, mask=mask),
        "decolorize": physics.Decolorize(),
    }


@pytest.mark.parametrize("name", ["downsampling", "blur", "pixels", "decolorize"])
def test_a_physics_is_an_operator_as_it_is(name: str, latent_model: Model) -> None:
    operator = operators()[name]
    assert isinstance(operator, Operator)
    x = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(1))
    y = torch.randn_like(operator.A(x))
    assert (operator.A(x) * y).sum().item() == pytest.approx((x * operator.A_adjoint(y)).sum().item(), rel=1e-3)
    z = latent_model.encode(x)
    for error in ("decoder_gradient", "vae_newton"):
        task = Restore(operator, degrade=True, error=error)  # type: ignore[arg-type]
        constraint = task.constraint(batch(images(2, 64)), latent_model)
        assert constraint.error(z).isfinite().all()
        assert (constraint.residual(z) > 0).all()


WORKS: dict[str, dict[str, Any]] = {
    "Blur": {"filter": torch.ones(1, 1, 5, 5) / 25, "padding": "circular"},
    "BlurFFT": {"img_size": SIZE, "filter": torch.ones(1, 1, 5, 5) / 25},
    "CompressedSensing": {"m": 300, "img_size": SIZE, "fast": True},
    "CompressiveSpectralImaging": {"img_size": SIZE},
    "Decolorize": {},
    "Demosaicing": {"img_size": SIZE},
    "Denoising": {},
    "Downsampling": {"img_size": SIZE, "filter": "bicubic", "factor": 4},
    "DownsamplingMatlab": {"factor": 2},
    "HyperSpectralUnmixing": {"E": 3, "C": 64},
    "Inpainting": {"img_size": SIZE, "mask": 0.5},
    "SinglePixelCamera": {"m": 300, "img_size": SIZE},
    "SpaceVaryingBlur": {
        "filters": torch.ones(1, 1, 2, 5, 5) / 25,
        "multipliers": torch.ones(1, 1, 2, 64, 64) / 2,
        "padding": "circular",
    },
    "StructuredRandom": {"img_size": SIZE, "output_size": SIZE},
    "Tomography": {"angles": 20, "img_width": 64},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DynamicMRI": ({"img_size": (2, 4, 64, 64)}, "one for pictures of 3x64x64"),
    "Haze": ({}, "this has no A_adjoint"),
    "MRI": ({"mask": torch.ones(64, 64), "img_size": (2, 64, 64)}, "one for pictures of 3x64x64"),
    "Pansharpen": ({"img_size": SIZE}, "not TensorList"),
    "Ptychography": ({"img_size": (1, 64, 64)}, "one for pictures of 3x64x64"),
    "RandomPhaseRetrieval": ({"m": 300, "img_size": SIZE}, "one for pictures of 3x64x64"),
    "SinglePhotonLidar": ({}, "this has no A_adjoint"),
    "SpatialUnwrapping": ({}, "a linear operator; A"),
    "StructuredRandomPhaseRetrieval": ({"img_size": SIZE, "output_size": SIZE, "n_layers": 2}, "a linear operator; A"),
    "Upsampling": ({"img_size": SIZE, "filter": "bicubic", "factor": 2}, "one for pictures of 3x64x64"),
}
# Bases, wrappers of others, and those that need further packages or the geometry of a machine.
APART = {"Physics", "LinearPhysics", "DecomposablePhysics", "VirtualLinearPhysics", "PhaseRetrieval", "PhysicsCropper"}
APART |= {"StackedPhysics", "StackedLinearPhysics", "ComposedPhysics", "ComposedLinearPhysics", "TiledSpaceVaryingBlur"}
APART |= {"PhysicsMultiScaler", "LinearPhysicsMultiScaler", "BlurMultiScaler", "BlurFFTMultiScaler"}
APART |= {"InpaintingMultiScaler", "PtychographyLinearOperator", "MultiCoilMRI", "SequentialMRI", "NonCartesianMRI"}
APART |= {"Scattering", "PET", "TomographyWithAstra", "UltrasoundPlaneWave", "RadioInterferometry"}


def test_every_physics_of_the_release_is_in_a_list() -> None:
    kinds = {
        name for name, kind in vars(physics).items() if inspect.isclass(kind) and issubclass(kind, physics.Physics)
    }
    assert kinds - {*WORKS, *REFUSED} <= APART


@pytest.mark.parametrize("name", WORKS)
def test_a_linear_physics_of_pictures_works(name: str) -> None:
    check_linear(chosen("operator", getattr(physics, name)(**WORKS[name]), Operator), SIZE)  # type: ignore[type-abstract]


@pytest.mark.parametrize("name", REFUSED)
def test_any_other_is_refused_in_a_line_that_says_why(name: str) -> None:
    arguments, said = REFUSED[name]
    with pytest.raises(UsageError, match=said) as error:
        check_linear(chosen("operator", getattr(physics, name)(**arguments), Operator), SIZE)  # type: ignore[type-abstract]
    assert len(str(error.value).splitlines()) == 1

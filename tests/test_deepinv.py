"""deepinv's operators are ours as they are; skipped where deepinv or what it needs is not installed."""

from __future__ import annotations

import pytest
import torch
from helpers.batches import batch, images

from fcs.core.operators import Operator
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

"""The published loop, written down once more from the paper and the authors' notebook, against ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from gaussian import Gaussian
from torch import Tensor, nn


def published_inpainting(
    eps: Callable[[Tensor, int], Tensor],
    betas: Tensor,
    y: Tensor,
    mask: Tensor,
    noise: Iterator[Tensor],
    rates: Sequence[float],
    delta: float = 0.005,
    stride: int = 50,
) -> Tensor:
    """Graikos et al. 2025 for one picture: t told 1000 ... 50, abar read at t - 1, norms over it all.

    Args:
        eps: the network, ``(x, t) -> noise``.
        mask: 1 = kept.
        noise: x_T, then one draw a step.
        rates: the K learning rates of the inner loop.
    """
    abar = torch.cumprod(1 - betas, 0)
    x_t = next(noise)
    for t in range(len(betas), 0, -stride):
        a_t, a_next = abar[t - 1], abar[max(t - 1 - stride, 1)]

        def predict(x: Tensor, t: int = t, a_t: Tensor = a_t) -> Tensor:
            return (x - (1 - a_t).sqrt() * eps(x, t)) / a_t.sqrt()

        x_0 = predict(x_t)
        for rate in rates:
            e = mask * (y - x_0)
            h = delta / e.abs().max()
            d = (predict(x_t + h * e) - x_0) / h
            x_t = x_t + rate * d / d.abs().max()
            x_0 = predict(x_t)
        e_t = (x_t - a_t.sqrt() * x_0) / (1 - a_t).sqrt()
        b2 = betas[t - 1] * (1 - a_next) / (1 - a_t)
        x_t = a_next.sqrt() * x_0 + (1 - a_next - b2).sqrt() * e_t + b2.sqrt() * next(noise)
    return x_0


# Nothing above knows of fcs; below, the same through it.

from fcs.constraint import Known  # noqa: E402
from fcs.denoiser import Denoiser, Guided  # noqa: E402
from fcs.directions import Newton as NewtonDirection  # noqa: E402
from fcs.levels import ddpm_levels  # noqa: E402
from fcs.samplers import Newton  # noqa: E402

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ABAR = torch.cumprod(1 - BETAS, 0)


def coefficients(t: float) -> tuple[float, float]:
    """What the prior's network believes of the number that the notebook tells it."""
    alpha_squared = ABAR[round(t) - 1].item()
    return alpha_squared**0.5, (1 - alpha_squared) ** 0.5


def picture(size: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Target, mask (1 = kept) with a soft column, and noise for 20 steps."""
    generator = torch.Generator().manual_seed(3)
    y = torch.rand(1, 1, size, size, generator=generator, dtype=torch.float64) * 2 - 1
    mask = torch.zeros_like(y)
    mask[..., : size // 2], mask[..., size // 2] = 1, 0.4
    noise = [torch.randn(1, 1, size, size, generator=generator, dtype=torch.float64) for _ in range(21)]
    return y, mask, noise


@pytest.mark.parametrize("rates", [[0.5, 0.4, 0.3, 0.2, 0.1], [1.0], []], ids=["K=5", "K=1", "K=0"])
@pytest.mark.parametrize("kind", ["random", "gaussian"])
def test_equals_the_published_loop(kind: str, rates: list[float], small_network: nn.Module) -> None:
    # The loop amplifies rounding: on most Gaussian priors it differs from itself by 1e-8 once y moves by
    # 1e-15. On this one it does not.
    network = small_network if kind == "random" else Gaussian(seed=4).network("eps", coefficients)
    y, mask, noise = picture(8 if kind == "random" else 4)

    def eps(x: Tensor, t: int) -> Tensor:
        return network(x, torch.tensor([float(t)]))

    expected = published_inpainting(eps, BETAS, y, mask, iter(noise), rates)
    draws = iter(noise)
    sampler = Newton(NewtonDirection(difference=0.005), rates)
    levels, denoise = ddpm_levels(ABAR, 20, "paper"), Guided(Denoiser(network, "eps"))
    x0 = sampler(next(draws), levels, denoise, Known(y, mask), lambda shape: next(draws))
    torch.testing.assert_close(x0, expected, rtol=0, atol=1e-8)
    assert denoise.calls == 20 * (1 + 2 * len(rates))
    # Agreement says nothing if the inner loop did nothing: it must have brought the kept part nearer to y.
    free = published_inpainting(eps, BETAS, y, mask, iter(noise), [])
    gaps = [((mask == 1) * (sample - y)).norm() for sample in (x0, free)]
    assert gaps[0] < 0.7 * gaps[1] if rates else torch.allclose(*gaps)

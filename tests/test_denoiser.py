"""The denoiser: x_0 is the same whatever the network predicts; guidance is diffusers'."""

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor, nn

from fcs.core.denoise_wrappers import CallCounter
from fcs.core.denoiser import Denoiser, Guided, Predicts
from fcs.core.levels import Level, ddpm_levels, flow_levels

TIGHT = {"rtol": 0, "atol": 1e-10}


def rows(seed: int, n: int = 3) -> Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def denoiser(gaussian: Gaussian, predicts: Predicts, level: Level) -> Denoiser:
    return Denoiser(gaussian.network(predicts, lambda t: (level.alpha, level.sigma)), predicts)


@pytest.mark.parametrize("predicts", ["eps", "v", "flow"])
@pytest.mark.parametrize("place", [0, 10, 19])
def test_predictions_agree_on_a_diffusion(gaussian: Gaussian, abar: Tensor, predicts: Predicts, place: int) -> None:
    level, x = ddpm_levels(abar, 20)[place], rows(0)
    x0 = denoiser(gaussian, predicts, level)(x, level)
    torch.testing.assert_close(x0, gaussian.x0(x, level.alpha, level.sigma), **TIGHT)


@pytest.mark.parametrize("predicts", ["eps", "flow"])
@pytest.mark.parametrize("place", [1, 5, 9])
def test_predictions_agree_on_a_flow(gaussian: Gaussian, predicts: Predicts, place: int) -> None:
    level, x = flow_levels(10)[place], rows(0)
    x0 = denoiser(gaussian, predicts, level)(x, level)
    torch.testing.assert_close(x0, gaussian.x0(x, level.alpha, level.sigma), **TIGHT)


def test_a_flow_starts_from_the_mean(gaussian: Gaussian) -> None:
    # At pure noise (alpha = 0) nothing is known of x_0, and only a flow's output still says it.
    level = flow_levels(10)[0]
    x0 = denoiser(gaussian, "flow", level)(rows(0), level)
    torch.testing.assert_close(x0, gaussian.mean.reshape(1, 1, 4, 4).expand(3, 1, 4, 4), **TIGHT)


class Seen(nn.Module):
    """Remembers what it is given."""

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        self.x, self.t, self.cond = x, t, cond
        return torch.zeros_like(x)


def test_the_network_is_told_the_levels_own_t() -> None:
    network, cond = Seen(), rows(1)
    Denoiser(network, "eps")(rows(0), Level(949.0, 0.1, 0.99), cond)
    assert torch.equal(network.t, torch.full((3,), 949.0))
    assert network.cond is cond


def test_x0_is_formed_outside_autocast() -> None:
    network, seen = nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False), []
    x, level = rows(0).float(), Level(500, 0.6, 0.8)
    network.register_forward_hook(lambda module, given, out: seen.append(out))

    class Convolution(nn.Module):
        def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
            return network(x)

    x0 = Denoiser(Convolution(), "eps", torch.bfloat16)(x, level)
    assert seen[0].dtype == torch.bfloat16
    assert x0.dtype == torch.float32
    assert torch.equal(x0, (x - level.sigma * seen[0].float()) / level.alpha)


@pytest.mark.parametrize("predicts", ["eps", "v", "flow"])
@pytest.mark.parametrize("scale", [0.0, 2.0, 7.5])
def test_guidance_is_diffusers(gaussian: Gaussian, predicts: Predicts, scale: float) -> None:
    level = Level(500, 0.6, 0.8)
    model = denoiser(gaussian, predicts, level)
    x, prompt, nothing = rows(0), rows(1), torch.zeros_like(rows(1))
    t = torch.full((3,), 500.0)
    # StableDiffusionPipeline: noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    out_text, out_uncond = model.network(x, t, prompt), model.network(x, t, nothing)
    out = out_uncond + scale * (out_text - out_uncond)
    expected = {
        "eps": (x - 0.8 * out) / 0.6,
        "v": 0.6 * x - 0.8 * out,
        "flow": (x - 0.8 * out) / 1.4,
    }[predicts]
    torch.testing.assert_close(Guided(model, prompt, nothing, scale)(x, level), expected, **TIGHT)


def test_scale_one_asks_only_the_prompts_branch(gaussian: Gaussian) -> None:
    level, network = Level(500, 0.6, 0.8), Seen()
    Guided(Denoiser(network, "eps"), rows(1), rows(2), 1.0)(rows(0), level)
    assert len(network.x) == 3
    assert torch.equal(network.cond, rows(1))


def test_both_branches_count_as_one_call() -> None:
    for scale in (1.0, 3.0):
        counter = CallCounter()
        guided = counter(Guided(Denoiser(Seen(), "eps"), rows(1), rows(2), scale))
        for _ in range(4):
            guided(rows(0), Level(500, 0.6, 0.8))
        assert counter.calls == 4


def test_guidance_needs_prompts() -> None:
    with pytest.raises(ValueError, match="guidance=2"):
        Guided(Denoiser(Seen(), "eps"), scale=2.0)


def test_guidance_ends_where_it_is_told_to(gaussian: Gaussian) -> None:
    network = Seen()
    guided = Guided(Denoiser(network, "eps"), rows(1), rows(2), 3.0, guided_above=500)
    guided(rows(0), Level(501, 0.6, 0.8))
    assert torch.equal(network.cond, torch.cat([rows(1), rows(2)]))
    x0 = guided(rows(0), Level(500, 0.6, 0.8))
    assert torch.equal(network.cond, rows(1))
    assert torch.equal(x0, Guided(Denoiser(network, "eps"), rows(1))(rows(0), Level(500, 0.6, 0.8)))

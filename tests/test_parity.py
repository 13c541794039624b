"""Ours against others': the published loop, written down once more from the paper and the authors' notebook; scores
against the libraries that the field takes them from. One that is not installed is skipped, closed forms never are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.gaussian import Gaussian
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

from fcs.core.constraints import Known  # noqa: E402
from fcs.core.denoise_wrappers import CallCounter  # noqa: E402
from fcs.core.denoiser import Denoiser, Guided  # noqa: E402
from fcs.core.directions import Newton  # noqa: E402
from fcs.core.errors import UsageError  # noqa: E402
from fcs.core.images import to_float  # noqa: E402
from fcs.core.levels import ddpm_levels  # noqa: E402
from fcs.metrics.distances import FeatureMoments, fid, kid  # noqa: E402
from fcs.metrics.extractors import Inception  # noqa: E402
from fcs.metrics.image_scores import scores as picture_scores  # noqa: E402
from fcs.metrics.lpips import HEADS, Lpips, alexnet, parameters  # noqa: E402
from fcs.samplers import InexactNewton  # noqa: E402

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
    sampler = InexactNewton(Newton(difference=0.005), rates)
    levels, counter = ddpm_levels(ABAR, 20, "paper"), CallCounter()
    denoise = counter(Guided(Denoiser(network, "eps")))
    x0 = sampler(next(draws), levels, denoise, Known(y, mask), lambda shape: next(draws))
    torch.testing.assert_close(x0, expected, rtol=0, atol=1e-8)
    assert counter.calls == 20 * (1 + 2 * len(rates))
    # Agreement says nothing if the inner loop did nothing: it must have brought the kept part nearer to y.
    free = published_inpainting(eps, BETAS, y, mask, iter(noise), [])
    gaps = [((mask == 1) * (sample - y)).norm() for sample in (x0, free)]
    assert gaps[0] < 0.7 * gaps[1] if rates else torch.allclose(*gaps)


# Scores against those whom the field trusts with them.

PARITY = "FCS_PARITY_PACKAGES"


def uint8_pictures(seed: int, n: int = 3, height: int = 40, width: int = 33) -> Tensor:
    """Smooth pictures with noise, whose SSIM is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.linspace(0, 200, width).expand(n, 3, height, width)
    return (smooth + 55 * torch.rand(n, 3, height, width, generator=generator)).byte()


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    made, truth = uint8_pictures(0), uint8_pictures(1)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    for row, one, other in zip(picture_scores(made, truth, None), made, truth, strict=True):
        first, second = (picture.permute(1, 2, 0).numpy() for picture in (one, other))
        assert row["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(second, first), abs=1e-3)
        # scikit-image leaves the border of five pixels out; ours sees the picture mirrored there.
        mirrored = [np.pad(picture, ((5, 5), (5, 5), (0, 0)), mode="reflect") for picture in (first, second)]
        assert row["ssim"] == pytest.approx(metrics.structural_similarity(*mirrored, **window), abs=1e-4)


def test_scores_of_a_part_are_means_over_its_pixels() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    made, truth = uint8_pictures(0, 1), uint8_pictures(1, 1)
    mask = torch.zeros(1, 1, 40, 33, dtype=torch.uint8)
    mask[..., 10:25, 8:20] = 200
    (row,) = picture_scores(made, truth, mask)
    first, second = (picture[0].permute(1, 2, 0).numpy() for picture in (made, truth))
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    _, local = metrics.structural_similarity(first, second, full=True, **window)
    assert row["ssim_generated"] == pytest.approx(local[10:25, 8:20].mean(), abs=1e-4)  # away from the border
    kept = (mask[0, 0] == 0).numpy()
    assert row["psnr_kept"] == pytest.approx(metrics.peak_signal_noise_ratio(second[kept], first[kept]), abs=1e-3)
    share = kept.mean()
    assert row["ssim"] == pytest.approx(share * row["ssim_kept"] + (1 - share) * row["ssim_generated"], abs=1e-5)


class Anything(ModuleType):
    """A module that has everything: what is asked for at import and never used."""

    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A stand-in for torchvision where there is none; what was imported with it is forgotten.

    lpips and torch-fidelity want torchvision at import, and torchmetrics does not import beside a torch-fidelity
    without one: they may lie in a folder of their own, which PARITY names.
    """
    if PARITY in os.environ:
        monkeypatch.syspath_prepend(os.environ[PARITY])
    before, top = set(sys.modules), "torchvision"
    if find_spec(top) is None:
        for name in (top, *(f"{top}.{part}" for part in ("datasets", "models", "transforms", "transforms.functional"))):
            monkeypatch.setitem(sys.modules, name, module := Anything(name))
            above, _, last = name.rpartition(".")
            if above:
                setattr(sys.modules[above], last, module)
    yield sys.modules.get(top) or import_module(top)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("lpips", "torch_fidelity"):
            del sys.modules[name]


def imported(package: str, module: str) -> ModuleType:
    if find_spec(package) is None:
        pytest.skip(f"{package} is neither installed nor in the folder {PARITY}={os.environ.get(PARITY, '')}")
    return import_module(module)


def test_lpips_is_that_of_the_lpips_package(monkeypatch: pytest.MonkeyPatch, torchvision: ModuleType) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = alexnet()
    grown = SimpleNamespace(features=[*trunk, nn.MaxPool2d(3, 2)])
    monkeypatch.setattr(torchvision, "models", SimpleNamespace(alexnet=lambda pretrained: grown))
    monkeypatch.setitem(sys.modules, "torchvision.models", torchvision.models)
    theirs = imported("lpips", "lpips").LPIPS(net="alex", pnet_rand=True, verbose=False)
    heads = [layer.model[1].weight for layer in theirs.lins]
    ours = Lpips(trunk.state_dict(), heads)
    first, second = (to_float(uint8_pictures(seed, 2, 64, 70)) for seed in (0, 1))
    expected = theirs(first, second).flatten()
    assert expected.min() > 1e-3
    torch.testing.assert_close(ours(first, second), expected, rtol=1e-5, atol=1e-7)
    assert ours(first, first).tolist() == [0, 0]
    # The heads that a run loads are the ones that came with the package.
    published = parameters(HEADS)
    for layer, head in enumerate(heads):
        assert torch.equal(published[f"lin{layer}.model.1.weight"], head)


def gaussians(n: int, size: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    mixing = random.standard_normal((2, size, size)) / size**0.5
    return [random.standard_normal((n, size)) @ mixing[i] + 0.3 * i for i in (0, 1)]


def test_fid_is_the_closed_form_of_gaussians() -> None:
    # Covariances that share their axes: |m - m'|^2 + sum (s - s')^2, whatever the axes are.
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))
    first, second, apart = np.linspace(0.5, 2, 8), np.linspace(3, 1, 8), np.linspace(-1, 1, 8)

    def exact(scales: np.ndarray, mean: np.ndarray) -> FeatureMoments:
        return FeatureMoments(1000, mean, 999 * axes @ np.diag(scales**2) @ axes.T)

    value, dimensions = fid(exact(first, np.zeros(8)), exact(second, apart))
    assert dimensions == 8
    assert value == pytest.approx(np.square(apart).sum() + np.square(first - second).sum())
    # And of samples of them, as far as samples go.
    random = np.random.default_rng(1)
    samples = [random.standard_normal((40_000, 8)) * scales @ axes.T for scales in (first, second)]
    value, _ = fid(FeatureMoments.of(samples[0]), FeatureMoments.of(samples[1] + apart))
    assert value == pytest.approx(np.square(apart).sum() + np.square(first - second).sum(), rel=0.02)


@pytest.mark.usefixtures("torchvision")
def test_fid_and_kid_are_those_of_torch_fidelity() -> None:
    made, reference = gaussians(400, 16)
    theirs = imported("torch_fidelity", "torch_fidelity.metric_fid")
    statistics = [theirs.fid_features_to_statistics(torch.from_numpy(features)) for features in (made, reference)]
    expected = theirs.fid_statistics_to_metric(*statistics, False)[theirs.KEY_METRIC_FID]
    assert fid(FeatureMoments.of(made), FeatureMoments.of(reference))[0] == pytest.approx(expected, rel=1e-9)
    kernel = imported("torch_fidelity", "torch_fidelity.metric_kid")
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    expected = kernel.kernel_mmd(made, reference, **options, kid_kernel_poly_coef0=1)
    assert kid(made, reference)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("torchvision")
def test_inception_is_torch_fidelitys_from_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = imported("torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3")
    network = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched, torch.random.fork_rng():
        torch.manual_seed(0)
        patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(network, "load_state_dict", lambda *_: None)
        theirs = network("random", ["2048"])
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    pictures = uint8_pictures(0, 2, 64, 64)
    with torch.no_grad():
        features = Inception(tmp_path / "weights.pth")(pictures)
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features, theirs(pictures)[0])
    (tmp_path / "weights.pth").write_bytes(b"something else")
    with pytest.raises(UsageError, match="expected Inception's weights as torch-fidelity publishes them"):
        Inception(tmp_path / "weights.pth")


def test_kid_is_that_of_another_library() -> None:
    pairwise = pytest.importorskip("sklearn.metrics.pairwise", reason="scikit-learn is not installed")
    made, reference = gaussians(1500, 16)  # more than are in memory at once
    reference = reference[:700]
    within = []
    for features in (made, reference):
        kernel = pairwise.polynomial_kernel(features, degree=3)
        n = len(features)
        within.append((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
    expected = sum(within) - 2 * pairwise.polynomial_kernel(made, reference, degree=3).mean()
    assert kid(made, reference)[0] == pytest.approx(expected, rel=1e-9)

"""faces-64's parts: the classifier, the losses of the VAE, and what captions tell the text tower."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from emoji.text import make_tokenizer
from faces.attributes import ATTRIBUTES, NAMES
from faces.captions import draw_caption, full_caption, named
from faces.classifier import CLASSES, accuracy
from faces.denoiser import Examples
from faces.denoiser import Loss as DenoiserLoss
from faces.distil import SelfConsistency
from faces.draws import draw_face, generator
from faces.kinds import KINDS, Kind
from faces.nearest import nearest
from faces.pictures import Pool
from faces.render import render
from faces.text import LENGTH, Text, draw_captions, new_tower, targets, tokenize
from faces.vae import Loss, new_vae, perception, reconstruct, reconstruction, through
from torch import nn

from fcs.core.denoiser import x0_from
from fcs.core.levels import Level
from fcs.metrics.attributes import AttributeClassifier

SPREAD = 0.5  # of a Gaussian's pixels


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Noise with labels of faces."""
    rng = np.random.default_rng(0)
    labels = [draw_face("train", generator(0, "train", i)).labels for i in range(12)]
    return Pool(rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8), torch.tensor(labels))


@pytest.fixture(scope="module")
def classifier() -> AttributeClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AttributeClassifier(CLASSES).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_vae()


def test_pictures_come_as_they_lie_in_the_array(pool: Pool) -> None:
    x, labels = pool.rows(torch.tensor([3, 1]))
    assert x.shape == (2, 3, 64, 64)
    assert torch.equal(((x + 1) * 127.5).round().byte()[0].permute(1, 2, 0), torch.from_numpy(pool.pictures[3]))
    assert torch.equal(labels, pool.labels[[3, 1]])
    again = pool.draw(4, torch.Generator().manual_seed(0))
    assert torch.equal(again[0], pool.draw(4, torch.Generator().manual_seed(0))[0])


def test_the_classifier_has_a_head_for_each_attribute_and_fits_a_megabyte(
    classifier: AttributeClassifier, pool: Pool
) -> None:
    x, _ = pool.rows(torch.arange(12))
    assert [tuple(logits.shape) for logits in classifier(x)] == [(12, n) for n in CLASSES]
    assert sum(2 * weight.numel() for weight in classifier.parameters()) <= 10**6
    found = classifier.predict(x)
    assert torch.equal(found[:, 0], classifier(x)[0].argmax(1))
    right = (found == pool.labels).float().mean(0)
    assert accuracy(classifier, pool) == pytest.approx(dict(zip(NAMES, right.tolist(), strict=True)), abs=1e-4)


def test_nothing_is_lost_where_nothing_is_changed(classifier: AttributeClassifier, pool: Pool) -> None:
    x, labels = pool.rows(torch.arange(4))
    same = {**reconstruction(x, x), **perception(classifier, x, x, labels)}
    assert {name for name, value in same.items() if value != 0} <= {"_psnr", "_right"}
    shifted = reconstruction(x + 0.1, x)
    assert shifted["l1"].item() == pytest.approx(0.1, abs=1e-6)
    assert shifted["mse"].item() == pytest.approx(0.05, abs=1e-6)
    assert shifted["edges"].item() == pytest.approx(0, abs=1e-6)
    assert shifted["face"].item() == pytest.approx(0.075 + 0.0375, abs=1e-6)
    assert shifted["_psnr"].item() == pytest.approx(10 * np.log10(4 / 0.01), abs=1e-3)


def test_an_error_in_the_face_counts_more_than_one_beside_it() -> None:
    x = torch.zeros(1, 3, 64, 64)
    inside, outside = x.clone(), x.clone()
    inside[..., 30, 30] = outside[..., 3, 3] = 1.0
    total = [sum(v for name, v in reconstruction(y, x).items() if name != "_psnr") for y in (inside, outside)]
    assert 2.8 < total[0] / total[1] < 3.5


def test_every_weight_of_the_vae_learns(vae: AutoencoderKL, classifier: AttributeClassifier, pool: Pool) -> None:
    losses = Loss(vae, classifier, pool)(torch.Generator().manual_seed(0))
    sum(value for name, value in losses.items() if not name.startswith("_")).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in vae.parameters())
    assert sum(2 * weight.numel() for weight in vae.parameters()) < 10 * 10**6
    vae.zero_grad()


def test_the_milestone_is_the_ratio_of_two_accuracies(
    vae: AutoencoderKL, classifier: AttributeClassifier, pool: Pool
) -> None:
    found = through(vae, classifier, pool, 8)
    x, labels = pool.rows(torch.arange(8))
    y = reconstruct(vae, x)
    assert y.abs().max() <= 1
    coded = (classifier.predict(y) == labels).float().mean(0)
    assert found["vae"] == pytest.approx(dict(zip(NAMES, coded.tolist(), strict=True)), abs=1e-4)
    for name in NAMES:
        if found["clean"][name] > 0:
            assert found["ratio"][name] == pytest.approx(found["vae"][name] / found["clean"][name], abs=1e-3)


def test_a_render_is_nearest_to_itself_also_under_noise() -> None:
    face = draw_face("train", generator(3, "train", 0))
    noise = 0.02 * np.random.default_rng(0).standard_normal((64, 64, 3))
    assert nearest(face, render(face) / 255 + noise) == list(face.labels)


def test_what_a_caption_names_is_found_in_it() -> None:
    rng = np.random.default_rng(1)
    everything = set(range(len(NAMES)))
    for i in range(50):
        labels = draw_face("train", generator(2, "train", i)).labels
        assert named("", labels) == set()
        assert named(full_caption(labels), labels) == everything
        caption = draw_caption(labels, rng)
        parts = [part for part in caption.split(", ") if part and part not in ("a face", "portrait")]
        assert len(named(caption, labels)) == len(parts)
    row = torch.tensor([labels, labels])
    classes = targets([full_caption(labels), ""], row)
    assert classes.tolist() == [list(labels), list(CLASSES)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Text:
    captions = draw_captions(pool.labels.repeat(20, 1), torch.Generator().manual_seed(0))
    tokenizer = make_tokenizer(captions, tmp_path_factory.mktemp("tokenizer"), LENGTH)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Text(tokenizer, new_tower(tokenizer).eval().requires_grad_(False))


def test_the_longest_caption_fits_the_tower(text: Text, pool: Pool) -> None:
    longest = [", ".join(["portrait", *(max(a.phrases, key=len).format(_longest(a)) for a in ATTRIBUTES)])]
    ids = tokenize(text.tokenizer, longest)
    assert ids.shape == (1, LENGTH)
    assert ids[0, -1] == text.tokenizer.pad_token_id
    assert text([full_caption(tuple(row)) for row in pool.labels.tolist()]).shape == (12, LENGTH, 128)


def _longest(attribute: object) -> str:
    return max((choice.name for choice in attribute.choices), key=lambda name: name.count(" "))  # type: ignore[attr-defined]


@pytest.mark.parametrize("stage", KINDS)
def test_the_network_learns_from_captions(stage: str, text: Text, pool: Pool) -> None:
    kind = KINDS[stage]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind.architecture.new()
        latents = torch.randn(12, 8, 16, 16)
    assert sum(weight.numel() for weight in network.parameters()) < 13 * 10**6
    read = kind.architecture.reader(network, text)
    loss = DenoiserLoss(kind, network, Examples(latents.half(), pool.labels, read))
    value = loss(torch.Generator().manual_seed(0))["loss"]
    variance = 1.0 if stage == "unet" else 2.0  # of the target: unit noise, less unit latents
    assert value.item() == pytest.approx(variance, abs=0.5)  # an untrained network predicts next to nothing
    value.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


class OfAGaussian(nn.Module):
    """Velocities for pixels of ``N(0, SPREAD^2)``: the flow's, or those that lead straight to its paths' ends."""

    def __init__(self, jumps: bool) -> None:
        super().__init__()
        self.jumps, self.scale = jumps, nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> SimpleNamespace:
        time = timestep[:, None, None, None] / 1000
        variance = ((1 - time) * SPREAD) ** 2 + time**2  # of x_t; a path keeps x_t / sqrt(variance)
        flow = (time - (1 - time) * SPREAD**2) / variance * x
        jump = (x - SPREAD * x / variance.sqrt()) / time.clamp(min=1e-6)
        return SimpleNamespace(sample=self.scale * (jump if self.jumps else flow))


@pytest.fixture
def consistent(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module, int], torch.Tensor]:
    latents = SPREAD * torch.randn(12, 8, 16, 16, generator=torch.Generator().manual_seed(0))

    def loss(student: nn.Module, steps: int) -> torch.Tensor:
        monkeypatch.setattr("faces.distil.STEPS", steps)
        own = SelfConsistency(student, OfAGaussian(False), Examples(latents, pool.labels, lambda captions: {}))
        return own(torch.Generator().manual_seed(0))["loss"]

    return loss


def test_jumps_to_the_ends_of_paths_are_consistent(consistent: Callable[[nn.Module, int], torch.Tensor]) -> None:
    exact = [consistent(OfAGaussian(True), steps).item() for steps in (16, 64)]
    assert exact[1] < exact[0] / 3  # what is left is Euler's error of a step: second order
    assert consistent(OfAGaussian(False), 64).item() > 5 * exact[1]


def test_only_the_earlier_point_learns(consistent: Callable[[nn.Module, int], torch.Tensor]) -> None:
    student, asked = OfAGaussian(False), []
    student.register_forward_pre_hook(lambda *given: asked.append(torch.is_grad_enabled()))
    consistent(student, 16).backward()
    assert asked == [False, True]  # the target, then the earlier point
    assert student.scale.grad is not None


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_the_network_must_say_gives_the_clean_latents_back(kind: Kind) -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 8, 8, 4, 4, generator=generator)
    x, t, target = kind.draw(x0, eps, generator)
    levels = {level.t: level for level in kind.schedule.levels(1000)}
    for i in range(8):
        level = levels.get(float(t[i]), Level(float(t[i]), 1 - float(t[i]) / 1000, float(t[i]) / 1000))
        found = x0_from(target[i : i + 1], x[i : i + 1], level, kind.predicts)
        torch.testing.assert_close(found, x0[i : i + 1], rtol=1e-3, atol=1e-3)

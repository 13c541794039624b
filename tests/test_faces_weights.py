"""The embedded faces-64 and its flow twin: they load, the classifier reads faces, the VAE keeps what it reads."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from emoji.export import training_of
from faces.attributes import NAMES
from faces.captions import full_caption
from faces.classifier import load_classifier
from faces.draws import Face, Split, draw_face, generator
from faces.kinds import KINDS
from faces.render import render
from faces.sampling import load_pipeline
from faces.unpack import unpack
from faces.vae import LEAST, reconstruct
from torch import Tensor

import fcs
from fcs.metrics.attributes import AttributeClassifier, read_folder

WEIGHTS = Path(fcs.__file__).parent / "weights"
FOLDER = WEIGHTS / "faces-64"
KIND_OF = {"faces-64": KINDS["unet"], "faces-64-flow": KINDS["flow"]}
EACH = pytest.mark.parametrize("name", KIND_OF)
COUNT = 60


@cache
def faces(split: Split) -> tuple[list[Face], Tensor]:
    """New draws, which no training has seen, and their pictures (60, 3, 64, 64) in [-1, 1]."""
    drawn = [draw_face(split, generator(17, split, i)) for i in range(COUNT)]
    pictures = torch.from_numpy(np.stack([render(face) for face in drawn]))
    return drawn, pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.fixture(scope="module")
def classifier() -> AttributeClassifier:
    return read_folder(FOLDER / "classifier")[0]


def right(classifier: AttributeClassifier, pictures: Tensor, split: Split) -> Tensor:
    """The share of right classes by attribute."""
    labels = torch.tensor([face.labels for face in faces(split)[0]])
    return (classifier.predict(pictures) == labels).float().mean(0)


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_the_classifier_reads_faces_also_through_the_vae(classifier: AttributeClassifier, split: Split) -> None:
    vae = AutoencoderKL.from_pretrained(FOLDER / "vae").eval()
    pictures = faces(split)[1]
    clean = right(classifier, pictures, split)
    coded = right(classifier, reconstruct(vae, pictures), split)
    for name, before, after in zip(NAMES, clean.tolist(), coded.tolist(), strict=True):
        assert before >= 1 - 1.5 / COUNT, name  # at least 99 %: one of 60 may be wrong
        assert after >= LEAST * before - 1 / COUNT, name


@EACH
def test_the_library_and_diffusers_load_the_folder_and_predict_alike(name: str) -> None:
    model = fcs.load(name)
    assert model.shape == (8, 16, 16)
    assert model.denoiser.predicts == KIND_OF[name].predicts
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / name, safety_checker=None)
    latents = torch.randn(1, *model.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([500.0])
    captions = [full_caption(faces("seen")[0][0].labels)]
    ids = pipeline.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        theirs = pipeline.unet(latents, t, encoder_hidden_states=pipeline.text_encoder(ids)[0]).sample
        ours = model.denoiser.network(latents, t, model.text(captions))  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@EACH
def test_a_training_can_go_on_from_what_ships(name: str, tmp_path: Path) -> None:
    unpack(WEIGHTS / name, tmp_path)
    kind = KIND_OF[name]
    again = load_pipeline(kind, tmp_path)
    shipped = StableDiffusionPipeline.from_pretrained(WEIGHTS / name, safety_checker=None)
    for part in ("vae", "text_encoder", "unet"):
        for weight, value in getattr(shipped, part).state_dict().items():
            assert torch.equal(getattr(again, part).state_dict()[weight], value), f"{part}: {weight}"
    assert load_classifier(tmp_path) is not None
    about = json.loads((WEIGHTS / name / "card.json").read_text())["training"]
    assert {stage: training_of(tmp_path / f"{stage}.json") for stage in about} == about


def test_the_twins_share_all_but_the_network() -> None:
    """What differs between them is then the network and its levels alone; in git their files are one."""
    eps, flow = (WEIGHTS / name for name in KIND_OF)
    for path in (p for p in eps.rglob("*") if p.is_file() and p.parent.name not in ("unet", "scheduler", eps.name)):
        assert path.read_bytes() == (flow / path.relative_to(eps)).read_bytes(), path


def test_the_weights_are_small_and_halves() -> None:
    sizes = {path: path.stat().st_size for name in KIND_OF for path in (WEIGHTS / name).rglob("*.safetensors")}
    assert max(sizes.values()) <= 10 * 10**6
    assert sum(sizes.values()) <= 40 * 10**6
    assert sizes[FOLDER / "classifier" / "model.safetensors"] <= 10**6

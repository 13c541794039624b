"""faces-64-dit: what its training shows the network is what the library asks it, and the recipe's folder runs."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import train_faces
from diffusers import SD3Transformer2DModel
from faces.denoiser import answer
from faces.dit import ABSENT, Transformer
from faces.kinds import KINDS
from faces.pool import draw_pool
from faces.sampling import load_pipeline
from faces.text import Text
from faces.unpack import unpack
from safetensors.torch import load_file

import fcs
from fcs.models.diffusers_pipeline import DiffusersPipeline
from fcs.models.from_memory import from_memory
from fcs.tools.cli.predict import main

SHIPPED = Path(fcs.__file__).parent / "weights" / "faces-64"
KIND = KINDS["dit"]
CAPTIONS = ["brown bob, round glasses", "", "a face, pale skin"]


@pytest.fixture(scope="module")
def network() -> SD3Transformer2DModel:
    """With weights where a new one has zeros, through which it would ignore all it is told."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Transformer().new().eval().requires_grad_(False)
        for weight in made.parameters():
            if not weight.any():
                torch.nn.init.normal_(weight, std=0.05)
    return made


@pytest.fixture(scope="module")
def text() -> Text:
    return Text.load(SHIPPED, "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a training: what ships beside the denoiser, and a few faces."""
    made = tmp_path_factory.mktemp("faces") / "model"
    unpack(SHIPPED, made)
    for split in ("train", "seen"):
        draw_pool(made.parent / "data", 8, split, 0, 1)
    return made


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_library_asks_what_the_training_showed(network: SD3Transformer2DModel, text: Text, scale: float) -> None:
    """x_0 = x_t - t v of the flow that is trained, for the captions as it reads them."""
    trained = deepcopy(network)
    read = KIND.architecture.reader(trained, text)
    vae = load_pipeline(KINDS["unet"], SHIPPED, "unet").vae
    model = from_memory(KIND.architecture.pipeline(network, vae, text, KIND.scheduler())).eval()
    assert isinstance(model, DiffusersPipeline)
    assert model.denoiser.predicts == KIND.predicts
    x = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0))
    for level in model.schedule.levels(7)[:-1]:
        time = level.t / 1000
        assert (level.alpha, level.sigma) == pytest.approx((1 - time, time))
        t = torch.full((3,), level.t)
        v, plain = (answer(trained, x, t, read(captions)) for captions in (CAPTIONS, [""] * 3))
        expected = x - time * (plain + scale * (v - plain))
        found = model.guided(CAPTIONS, scale=scale)(x, level)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(v, plain, atol=1e-2)


def test_one_token_of_zeros_stands_for_all(network: SD3Transformer2DModel, text: Text) -> None:
    trained = deepcopy(network)
    told = KIND.architecture.reader(trained, text)(CAPTIONS)
    states = told["encoder_hidden_states"]
    assert not states[:, -1].any()
    all_of_them = {**told, "encoder_hidden_states": torch.cat([states, states[:, -1:].repeat(1, ABSENT - 1, 1)], 1)}
    x, t = torch.randn(3, 8, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([30.0, 500.0, 990.0])
    expected = answer(network, x, t, all_of_them)
    torch.testing.assert_close(answer(trained, x, t, told), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(answer(network, x, t, told), expected, atol=1e-2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Small batches, and few faces drawn to judge."""
    monkeypatch.setattr("faces.denoiser.BATCH", 4)
    monkeypatch.setattr("faces.denoiser.JUDGED", 2)
    monkeypatch.setattr("faces.export.RENDERED", 1)
    monkeypatch.setattr(type(KIND), "steps", 2)
    before = signal.getsignal(signal.SIGTERM)
    yield monkeypatch
    signal.signal(signal.SIGTERM, before)


def test_the_recipe_gives_a_folder_that_runs(folder: Path, tmp_path: Path, quick: pytest.MonkeyPatch) -> None:
    weights = tmp_path / KIND.model

    def job(*options: str) -> None:
        arguments = ["--out", str(folder), "--data", str(folder.parent / "data"), *options]
        quick.setattr(sys, "argv", ["train_faces.py", *arguments])
        train_faces.main()

    job("--stage", "dit", "--steps", "3")
    job("--stage", "export-dit", "--weights", str(weights), "--sampled", "2")
    card = json.loads((weights / "card.json").read_text())
    assert list(card["training"]) == ["classifier", "vae", "text", "dit"]
    assert card["training"]["dit"]["steps"] == 3
    (path,) = (weights / "transformer").glob("*.safetensors")
    assert path.stat().st_size <= 8 * 10**6
    exported, trained = load_file(path), SD3Transformer2DModel.from_pretrained(folder / "dit").state_dict()
    assert all(torch.equal(exported[name], value.half()) for name, value in trained.items())

    out = tmp_path / "run"
    arguments = [f"model.name={weights}", "data.limit=2", "data.batch_size=2", "data.workers=0", f"out={out}"]
    assert main(["-c", "faces_inpaint", *arguments, "steps=2", "sampler.moves=[1,0]"]) == 0

    again = tmp_path / "again"
    unpack(weights, again)
    back = SD3Transformer2DModel.from_pretrained(again / "dit").state_dict()
    assert all(torch.equal(back[name].half(), value) for name, value in exported.items())

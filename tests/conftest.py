"""Fixtures of several test files: closed forms, models, a finished run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Read at import, so set first: tests fetch nothing, and small tensors gain nothing from threads. CI tries more of them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = os.environ.get("FCS_TEST_THREADS", "1")

import pytest
import torch
from helpers.gaussian import Gaussian
from helpers.ledgers import finish, outputs
from helpers.networks import SmallNetwork
from helpers.runs import DIGITS_RUN
from helpers.tiny_models import write_clip, write_sd
from torch import Tensor

import fcs
from fcs.models import Model
from fcs.tools.cli.predict import main


@pytest.fixture(autouse=True, scope="session")
def _without_fsync() -> Iterator[None]:
    """What is written survives a killed process without fsync too; only a power cut needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def gaussian() -> Gaussian:
    return Gaussian()


@pytest.fixture(scope="session")
def abar() -> Tensor:
    """Stable Diffusion's alphas_cumprod, float64."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


@pytest.fixture
def small_network() -> SmallNetwork:
    """An eps network on one channel, float64."""
    return SmallNetwork(1, seed=0).double().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Stable Diffusion that predicts eps, fp16 safetensors."""
    return write_sd(tmp_path_factory.mktemp("models") / "tiny-sd", "epsilon")


@pytest.fixture(scope="session")
def tiny_sd_v(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights under a scheduler that says v_prediction."""
    return write_sd(tmp_path_factory.mktemp("models") / "tiny-sd-v", "v_prediction")


@pytest.fixture(scope="session")
def latent_model(tiny_sd: Path) -> Model:
    return fcs.load(str(tiny_sd), device="cpu")


@pytest.fixture(scope="session")
def digits() -> Model:
    """The embedded diffusion model of 16x16 digits."""
    return fcs.load("digits-16", device="cpu")


@pytest.fixture(scope="session")
def digits_flow() -> Model:
    """Its twin trained as a rectified flow."""
    return fcs.load("digits-16-flow", device="cpu")


@pytest.fixture(scope="session")
def digits_shard() -> Path:
    """The shipped shard of 48 held-out digits with masks."""
    return Path(fcs.__file__).parent / "samples" / "digits" / "mixed.tar"


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished short run of the main job: the first 24 digits, two levels."""
    out = tmp_path_factory.mktemp("digits") / "run"
    assert main(["--config", "digits_inpaint", f"out={out}", *DIGITS_RUN]) == 0
    return out


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIP in transformers' folder format: 32 pixels, patches of 8, three blocks."""
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed run of ``helpers.ledgers`` leaves behind."""
    out = tmp_path_factory.mktemp("whole")
    finish(out)
    assert sorted(os.listdir(out)) == ["metrics", "run.json", "shards", "summary.json", "workers"]
    return outputs(out)

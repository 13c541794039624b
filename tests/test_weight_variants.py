"""Folders whose weights have a variant, or are no safetensors: read where asked for, else told how to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fcs
from fcs.core.errors import UsageError
from fcs.models import Model
from fcs.models.files import weights_variant
from fcs.models.loading import weight_patterns
from fcs.tools.cli.predict import main


@pytest.fixture
def folder(tiny_sd: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the tiny model whose weights' files end otherwise."""

    def renamed(ending: str) -> Path:
        shutil.copytree(tiny_sd, tmp_path / "model")
        for file in (tmp_path / "model").glob("*/*.safetensors"):
            file.rename(file.with_name(file.name.replace(".safetensors", ending)))
        return tmp_path / "model"

    return renamed


def test_a_variant_is_loaded_where_it_is_asked_for(folder: Callable[[str], Path], latent_model: Model) -> None:
    path = folder(".fp16.safetensors")
    with pytest.raises(UsageError, match=r"model\.variant=None: expected what unet of .* has: model\.variant=fp16"):
        fcs.load(path)
    model = fcs.load(path, device="cpu", variant="fp16")
    plain, varied = (fcs.sample(m, steps=1, progress=False).images[0] for m in (latent_model, model))
    assert plain.tobytes() == varied.tobytes()
    with pytest.raises(UsageError, match=r"model\.variant=bf16: .* model\.variant=fp16"):
        fcs.load(path, variant="bf16")


def test_a_variant_that_is_not_there(tiny_sd: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.variant=fp16: expected what unet of .* has: no model\.variant"):
        fcs.load(tiny_sd, variant="fp16")


def test_pickled_weights_are_refused_with_the_way_out(
    folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["-c", "digits_inpaint", f"model.name={folder('.bin')}", "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected weights as safetensors in unet, not diffusion_pytorch_model.bin" in line
    assert "save_pretrained" in line


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("model.safetensors", None),
        ("diffusion_pytorch_model-00001-of-00002.safetensors", None),
        ("model.fp16.safetensors", "fp16"),
        ("model.fp16-00001-of-00002.safetensors", "fp16"),
        ("diffusion_pytorch_model-00001-of-00002.fp16.safetensors", "fp16"),
        ("diffusion_pytorch_model.safetensors.index.json", ""),
        ("pytorch_model.bin", ""),
    ],
)
def test_the_variant_of_a_file(name: str, variant: str | None) -> None:
    assert weights_variant(name) == variant


def test_a_hub_is_asked_for_the_variant_alone() -> None:
    assert "*/model.fp16.safetensors" in weight_patterns("fp16")
    assert "*/diffusion_pytorch_model-*-of-*.fp16.safetensors" in weight_patterns("fp16")
    assert "*/model.safetensors" not in weight_patterns("fp16")
    assert "*/model.safetensors" in weight_patterns(None)

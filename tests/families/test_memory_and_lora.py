"""Parts of a pipeline that wait in memory, and LoRA files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers.utils
import pytest
import torch

import fcs
from families.builders import FAMILIES
from fcs.core.errors import UsageError
from fcs.models.lora import Lora

pytestmark = pytest.mark.families
Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "flux"
    FAMILIES["flux"]().save_pretrained(path)
    return path


def test_text_encoders_come_when_they_are_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fcs.load(folder, device="cpu", size=(32, 32))
    model = fcs.load(folder, device="cpu", size=(32, 32), offload="text")
    assert set(model.parts) == {"vae", "transformer"}
    moves: list[Any] = []
    for part in model.calls.waiting:
        monkeypatch.setattr(part, "to", lambda place, own=part: moves.append((type(own).__name__, str(place))))
    x, level = torch.randn(2, *model.shape), model.schedule.levels(3)[1]
    model.calls.clear()
    moves.clear()
    made = [model.guided(["a", "b"])(x, level) for _ in range(3)]
    encoders = ["CLIPTextModel", "T5EncoderModel"]
    assert moves == [(name, "cpu") for name in encoders * 4]  # to the device and back, for each of two prompts
    assert torch.equal(made[0], plain.guided(["a", "b"])(x, level))


def test_offloading_without_accelerate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusers.utils, "is_accelerate_available", lambda: False)
    for way in ("model", "sequential"):
        with pytest.raises(UsageError, match=rf"model\.offload={way}: expected accelerate beside it: pip install"):
            fcs.load(folder, device="cpu", size=(32, 32), offload=way)


def test_models_without_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").touch()
    for given in ({"lora": str(tmp_path / "own.safetensors")}, {"offload": "text"}, {"arguments": {"eta": 1}}):
        with pytest.raises(UsageError, match="expected none for this model"):
            fcs.load("digits-16", device="cpu", **given)


def test_lora_without_peft(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.safetensors").touch()
    monkeypatch.setattr(diffusers.utils, "is_peft_available", lambda: False)
    with pytest.raises(UsageError, match=r"expected peft beside it: pip install peft"):
        fcs.load(folder, device="cpu", lora=str(tmp_path / "own.safetensors"))


def test_how_a_lora_is_said(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_lora_weights.safetensors"
    file.write_bytes(b"x")
    assert [(one.path, one.weight) for one in map(Lora.of, (str(tmp_path), f"{file}@1"))] == [(file, 1.0)] * 2
    assert Lora.of(f"{file}@0.5").weight == 0.5
    assert Lora.of(str(file)).fingerprint != Lora.of(f"{file}@0.5").fingerprint
    for wrong in ("none.safetensors", f"{file}@", str(tmp_path / "x")):
        with pytest.raises(UsageError, match=r"model\.lora="):
            Lora.of(wrong)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.filterwarnings("default")
def test_a_lora_acts_by_its_weight(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    pipe = FAMILIES["flux"]()
    pipe.transformer.add_adapter(
        LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    )
    pipe.save_lora_weights(tmp_path, transformer_lora_layers=get_peft_model_state_dict(pipe.transformer))
    plain = fcs.load(folder, device="cpu", size=(32, 32))
    x, level = torch.randn(1, *plain.shape), plain.schedule.levels(3)[1]

    def made(*lora: str) -> torch.Tensor:
        model = fcs.load(folder, device="cpu", size=(32, 32), lora=lora)
        return model.guided(["red"])(x, level)

    own = fcs.load(pipe, size=(32, 32)).guided(["red"])(x, level)
    torch.testing.assert_close(made(f"{tmp_path}"), own)
    assert not torch.allclose(own, made(), atol=1e-4)
    torch.testing.assert_close(made(f"{tmp_path}@0"), made(), atol=1e-5, rtol=0)


def test_a_folder_that_diffusers_reads_with_accelerate(tmp_path: Path) -> None:
    """Wan's: parts of it stay in float32, which diffusers does by accelerate alone."""
    FAMILIES["wan"]().save_pretrained(tmp_path / "wan")
    if importlib.util.find_spec("accelerate") is None:
        with pytest.raises(UsageError, match=r"accelerate beside it, which WanPipeline is loaded with: pip install"):
            fcs.load(tmp_path / "wan", device="cpu", size=(32, 32))
        return
    model = fcs.load(tmp_path / "wan", device="cpu", size=(32, 32))
    assert fcs.sample(model, prompt="x", steps=1, progress=False).images[0].size == (32, 32)


def test_a_folder_whose_part_was_left_out(tmp_path: Path) -> None:
    """SD 3 without its T5, of which the folder says that it is none: the pipeline reads zeros in its place."""
    pipe = FAMILIES["sd3"]()
    pipe.register_modules(text_encoder_3=None, tokenizer_3=None)
    pipe.save_pretrained(tmp_path / "sd3")
    models = fcs.load(tmp_path / "sd3", device="cpu", size=(32, 32)), fcs.load(pipe, size=(32, 32))
    x, level = torch.randn(2, *models[0].shape), models[0].schedule.levels(3)[1]
    own, given = (model.guided(["a", "b"])(x, level) for model in models)
    torch.testing.assert_close(own, given)
    assert not torch.allclose(own, models[0].guided(["c", "d"])(x, level), atol=1e-5)

"""What several tests share: closed forms, small networks, models in their published file formats."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

# Read at import, so set first: tests fetch nothing, and small tensors gain nothing from threads.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from helpers.gaussian import Gaussian
from torch import Tensor, nn

import fcs
from fcs.models import Model
from fcs.tools.cli.predict import main


@pytest.fixture
def gaussian() -> Gaussian:
    return Gaussian()


@pytest.fixture(scope="session")
def abar() -> Tensor:
    """Stable Diffusion's alphas_cumprod, float64."""
    return torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


class SmallNetwork(nn.Module):
    """A random convolutional network of (x, t): smooth, not linear, rows independent."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.enter = nn.Conv2d(channels, 16, 3, padding=1)
            self.inner = nn.Conv2d(16, 16, 3, padding=1)
            self.leave = nn.Conv2d(16, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        phase = (t.to(x.dtype) / 1000).reshape(-1, 1, 1, 1)
        hidden = torch.tanh(self.enter(x) + phase)
        return 0.9 * x + self.leave(torch.tanh(self.inner(hidden)))


@pytest.fixture
def small_network() -> SmallNetwork:
    """An eps network on one channel, float64."""
    return SmallNetwork(1, seed=0).double().requires_grad_(False)


def write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer files with single letters and three merges."""
    letters = [chr(i) for i in range(33, 127)]
    merges = ["r e", "re d</w>", "a p"]
    words = letters + [f"{letter}</w>" for letter in letters] + ["re", "red</w>", "ap"]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    begin, end = "<|startoftext|>", "<|endoftext|>"
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16}
    config |= {"bos_token": begin, "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_sd(folder: Path, prediction: str) -> Path:
    """A random Stable Diffusion of 16x16 latents and 64x64 pixels in diffusers' folder format."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    write_tokenizer(folder / "tokenizer")
    words = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            sample_size=64,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=words,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=16,
                bos_token_id=words - 2,
                eos_token_id=words - 1,
                pad_token_id=words - 1,
            )
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    for name, part in {"unet": unet, "vae": vae, "text_encoder": text_encoder}.items():
        part.half().save_pretrained(folder / name, safe_serialization=True)
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


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


DIGITS_RUN = ["steps=2", "data.limit=24", "data.batch_size=8", "data.workers=1"]


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
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": 32, "max_position_embeddings": 8},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    preprocessor = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def samples(path: Path) -> dict[str, dict[str, bytes]]:
    """Members of a shard by key and suffix."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            found.setdefault(key, {})[suffix] = file.read()
    return found

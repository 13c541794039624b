"""Tiny random models in the folder formats that diffusers and transformers publish."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch


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


def write_pixels(folder: Path) -> Path:
    """A random pixel model of 16x16 grey pictures, one block down and one up."""
    from diffusers import DDPMScheduler, UNet2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DModel(
            sample_size=16,
            in_channels=1,
            out_channels=1,
            block_out_channels=(8,),
            layers_per_block=1,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            norm_num_groups=4,
            add_attention=False,
        )
    unet.save_pretrained(folder / "unet", safe_serialization=True)
    DDPMScheduler(beta_schedule="scaled_linear", clip_sample=False).save_pretrained(folder / "scheduler")
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline", **parts}))
    return folder


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


def write_clip(folder: Path) -> Path:
    """A random CLIP of 32x32 pixels: patches of 8, three blocks."""
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    config = CLIPConfig(
        text_config={**tower, "vocab_size": 32, "max_position_embeddings": 8},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    preprocessor = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def with_channels(source: Path, folder: Path, channels: int) -> Path:
    """A model whose UNet sees other channels, its weights drawn anew."""
    import diffusers
    from diffusers import UNet2DConditionModel

    shutil.copytree(source, folder)
    config = UNet2DConditionModel.load_config(source / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        UNet2DConditionModel.from_config({**config, "in_channels": channels}).half().save_pretrained(folder / "unet")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "StableDiffusionInpaintPipeline", "_diffusers_version": diffusers.__version__}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder

"""A model of Stable Diffusion 1.5's size with random weights, and how near its runs come to what the GPU can do."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from fcs.models import find
from speed import bare
from speed.pipeline import Setting
from speed.rates import loaded, pipeline

SIDE = 8192  # of the matrices whose product says what the GPU can do
# Widths, attention heads, text width, latent side: of Stable Diffusion 1.5, and of something to try the job with.
SIZES: dict[str, dict[str, Any]] = {
    "sd15": {"widths": (320, 640, 1280, 1280), "vae": (128, 256, 512, 512), "text": 768, "side": 64, "layers": 12},
    "tiny": {"widths": (32, 32, 64, 64), "vae": (32, 32, 32, 32), "text": 32, "side": 8, "layers": 1},
}


def write(folder: Path, size: str) -> Path:
    """A folder in diffusers' format; the text encoder has the embedded emoji model's tokens."""
    if (folder / "model_index.json").exists():
        return folder
    shape, tokens = SIZES[size], find("emoji-64").path / "tokenizer"
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=shape["side"],
        block_out_channels=shape["widths"],
        cross_attention_dim=shape["text"],
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=shape["vae"],
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=8 * shape["side"],
    )
    words, length = _tokens(tokens)
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    width = {
        "hidden_size": shape["text"],
        "intermediate_size": 4 * shape["text"],
        "num_attention_heads": shape["text"] // 16,
    }
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words, num_hidden_layers=shape["layers"], max_position_embeddings=length, **width, **ends
        )
    )
    for name, part in {"unet": unet, "vae": vae, "text_encoder": text}.items():
        part.save_pretrained(folder / name, safe_serialization=True)
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    (folder / "tokenizer").mkdir(exist_ok=True)
    for file in tokens.iterdir():
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def _tokens(folder: Path) -> tuple[int, int]:
    """Words of a tokenizer, and its longest text."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return len(tokenizer), int(tokenizer.model_max_length)


def matmul_rate(device: torch.device, side: int = SIDE, repeats: int = 20) -> float:
    """Floating-point operations a second of a product of square bf16 matrices."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    times = []
    for _ in range(repeats):
        bare.ended(device)
        began = time.perf_counter()
        a @ a
        bare.ended(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / statistics.median(times)


@torch.no_grad()
def operations(model: bare.Bare) -> int:
    """Floating-point operations of one call for one record."""
    side = bare.latent_side(model)
    x = torch.zeros(1, model.vae.config.latent_channels, side, side, device=model.device)
    with FlopCounterMode(display=False) as counter:
        model.predict(x, torch.zeros(1, device=model.device), model.cond)
    return int(counter.get_total_flops())


def sweep(setting: Setting, all_calls: Sequence[int], batches: Sequence[int], side: int = SIDE) -> dict[str, Any]:
    """Seconds an image by batch and calls, and the share of the matmul rate that its network's operations are."""
    model = loaded(setting, compiled=False)
    rate, needed = matmul_rate(model.device, side), operations(model)
    del model
    rows = []
    for calls in all_calls:
        for batch in batches:
            seconds = pipeline(replace(setting, batch=batch), calls, 2).wall / batch
            share = calls * needed / seconds / rate
            rows.append({"calls": calls, "batch": batch, "seconds_an_image": seconds, "share_of_matmul": share})
    return {"matmul_tflops": rate / 1e12, "tflop_a_call": needed / 1e12, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """For people."""
    head = "bf16 matmul {matmul_tflops:.3g} TFLOP/s, a call {tflop_a_call:.3g} TFLOP".format(**found)
    line = "{calls:4d} calls, batch {batch:3d}: {seconds_an_image:.3f} s an image, {share_of_matmul:.1%} of matmul"
    return "\n".join([head, *(line.format(**row) for row in found["rows"])])

"""Tokenizers, text encoders and autoencoders of a few thousand parameters, as the families' pipelines hold them."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any

from helpers.tiny_models import write_tokenizer

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
LENGTH = 16  # tokens that CLIP takes
WIDTH = 16  # of all text encoders


def clip_tokenizer() -> Any:
    """CLIP's, of single letters."""
    from transformers import CLIPTokenizer

    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder) / "tokenizer")
        return CLIPTokenizer.from_pretrained(Path(folder) / "tokenizer")


def t5_tokenizer() -> Any:
    """T5's, of single letters: a unigram model."""
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in string.printable if not letter.isspace()]
    return T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=LENGTH)


def qwen_tokenizer() -> Any:
    """Qwen's, of single bytes, with a template for chats."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2TokenizerFast

    letters = sorted(ByteLevel.alphabet())
    words = {word: i for i, word in enumerate([*letters, "<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    return Qwen2TokenizerFast(vocab=words, merges=[], chat_template=CHAT, padding_side="right")


def gemma_tokenizer() -> Any:
    """Gemma's, of single letters; it pads on the right, as Sana and Lumina set it."""
    from transformers import GemmaTokenizerFast

    letters = [letter for letter in string.printable if not letter.isspace()]
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *letters]
    return GemmaTokenizerFast(vocab={word: i for i, word in enumerate(words)}, merges=[], padding_side="right")


def clip_text(projection: bool = False, hidden: int = WIDTH) -> Any:
    """CLIP's text tower, with the projection that SDXL and SD 3 read or without."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = len(clip_tokenizer())
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=hidden,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def t5_text(universal: bool = False) -> Any:
    """T5's encoder, or that of UMT5."""
    from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    sizes = {"d_model": WIDTH, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    kind, config = (UMT5EncoderModel, UMT5Config) if universal else (T5EncoderModel, T5Config)
    return kind(config(vocab_size=len(t5_tokenizer()), **sizes))


DECODER = {
    "hidden_size": WIDTH,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def qwen3_text(layers: int = 2) -> Any:
    """Qwen 3; of Flux.2 the layers 9, 18 and 27 are read."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    settings = DECODER | {"num_hidden_layers": layers}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=len(qwen_tokenizer()), head_dim=8, **settings))


def qwen25_text() -> Any:
    """Qwen 2.5 with eyes, as Qwen-Image reads prompts with."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    words = len(qwen_tokenizer())
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = Qwen2_5_VLConfig(
        text_config={"vocab_size": words, "rope_scaling": rope, **DECODER},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
        vision_start_token_id=words - 1,
        vision_token_id=words - 1,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def gemma2_text() -> Any:
    """Gemma 2."""
    from transformers import Gemma2Config, Gemma2Model

    return Gemma2Model(Gemma2Config(vocab_size=len(gemma_tokenizer()), head_dim=8, **DECODER))


def autoencoder(levels: int = 3, **config: Any) -> Any:
    """Stable Diffusion's autoencoder, 4 pixels a cell with three levels; ``config`` has scale and shift."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
        sample_size=32,
        **config,
    )

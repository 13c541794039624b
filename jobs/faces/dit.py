"""The transformer in Stable Diffusion 3's format, and how captions reach it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ModelMixin, SchedulerMixin, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from faces.architecture import Architecture, Conditions, Reader
from faces.text import WIDTH, Text
from faces.vae import CHANNELS

LAYERS = 6
HEADS = 4
HEAD = 32  # channels of one
ABSENT = 256  # tokens, all zero, that the pipeline has in place of a T5's: its default max_sequence_length


class Transformer(Architecture):
    """Joint attention of patches and captions (Esser et al. 2024).

    The pipeline wants two CLIP encoders and a T5. The one tower here is both of the former, the T5 is left out.
    """

    part, layout, network = "transformer", "Stable Diffusion 3's", SD3Transformer2DModel

    def new(self) -> SD3Transformer2DModel:
        """8x8 patches of 2x2 cells; every block begins as the identity (adaLN-Zero, Peebles and Xie 2023)."""
        width = HEADS * HEAD
        made = SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=LAYERS,
            num_attention_heads=HEADS,
            attention_head_dim=HEAD,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=2 * WIDTH,
            caption_projection_dim=width,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        )
        modulations = [part.linear for block in made.transformer_blocks for part in (block.norm1, block.norm1_context)]
        for layer in (*modulations, made.norm_out.linear, made.proj_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return made

    def reader(self, network: ModelMixin, text: Text) -> Reader:
        """The pipeline's own reading, with one token of zeros that ``network`` then takes for all of them."""
        pipe = self.pipeline(network, None, text, None)
        network.set_attn_processor(LastRepeated(ABSENT))

        @torch.no_grad()
        def read(captions: list[str]) -> Conditions:
            states, _, pooled, _ = pipe.encode_prompt(
                captions, None, None, do_classifier_free_guidance=False, max_sequence_length=1
            )
            return {"encoder_hidden_states": states, "pooled_projections": pooled}

        return read

    def pipeline(
        self, network: ModelMixin, vae: AutoencoderKL | None, text: Text, scheduler: SchedulerMixin | None
    ) -> StableDiffusion3Pipeline:
        """The tower twice, no T5."""
        tower = projected(text.tower)
        if vae is not None:
            vae.register_to_config(shift_factor=0.0)  # which the pipeline adds, and a VAE in SD 1's format lacks
        return StableDiffusion3Pipeline(
            transformer=network,
            scheduler=scheduler,
            vae=vae,
            text_encoder=tower,
            tokenizer=text.tokenizer,
            text_encoder_2=tower,
            tokenizer_2=text.tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )


def projected(tower: CLIPTextModel) -> CLIPTextModelWithProjection:
    """A text tower with the projection that the pipeline reads; it is the identity, since none was trained."""
    config = CLIPTextConfig.from_dict({**tower.config.to_dict(), "projection_dim": WIDTH})
    made = CLIPTextModelWithProjection(config)
    made.text_model.load_state_dict(tower.state_dict())
    nn.init.eye_(made.text_projection.weight)
    return made.to(tower.device).eval().requires_grad_(False)


class LastRepeated:
    """Attention of SD 3's blocks in which the context's last token stands for several equal ones.

    Tokens of the context have no positions, so equal ones stay equal through all blocks, and m of them weigh in a
    softmax as one does whose logit is larger by log m. That spares 255 of a training's 368 tokens.

    Args:
        count: how many it stands for.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, Tensor]:
        """Patches ``(N, P, D)`` and context ``(N, T, D)`` after attention over both."""
        own = (attn.to_q, attn.to_k, attn.to_v, attn.norm_q, attn.norm_k)
        context = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj, attn.norm_added_q, attn.norm_added_k)
        parts = heads(attn.heads, hidden_states, *own), heads(attn.heads, encoder_hidden_states, *context)
        q, k, v = (torch.cat(part, 2) for part in zip(*parts, strict=True))
        larger = torch.zeros(1, k.shape[2], dtype=q.dtype, device=q.device)
        larger[:, -1] = math.log(self.count)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=larger).transpose(1, 2).flatten(2)
        patches, told = torch.split(out, [hidden_states.shape[1], encoder_hidden_states.shape[1]], 1)
        return attn.to_out[0](patches), told if attn.context_pre_only else attn.to_add_out(told)


def heads(
    count: int, x: Tensor, to_q: nn.Module, to_k: nn.Module, to_v: nn.Module, norm_q: nn.Module, norm_k: nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values ``(N, count, T, D / count)`` of tokens ``(N, T, D)``."""
    q, k, v = (layer(x).unflatten(2, (count, -1)).transpose(1, 2) for layer in (to_q, to_k, to_v))
    return norm_q(q), norm_k(k), v

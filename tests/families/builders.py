"""One small builder a family: its pipeline with random weights, in the layout that its published weights have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch

from families import parts

FAMILIES: dict[str, Callable[[], Any]] = {}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
SAFE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def family(build: Callable[[], Any]) -> Callable[[], Any]:
    """A builder under its name."""
    FAMILIES[build.__name__] = seeded(build)
    return FAMILIES[build.__name__]


def seeded(build: Callable[[], Any]) -> Callable[[], Any]:
    """A builder whose weights are the same each time."""

    def made() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pipe = build()
            for part in pipe.components.values():
                if isinstance(part, torch.nn.Module):
                    part.eval()
                    fill(part)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return made


@torch.no_grad()
def fill(part: torch.nn.Module) -> None:
    """Draw weights that a new network leaves zero or uninitialised, with which it would ignore its inputs."""
    for name, weights in part.named_parameters():
        if weights.ndim > 1 and (not weights.any() or "pad_token" in name):
            torch.nn.init.normal_(weights, std=0.05)


def unet(**config: Any) -> Any:
    """Stable Diffusion's network on 8x8 latents."""
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": parts.WIDTH,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
    }
    return diffusers.UNet2DConditionModel(**settings | config)


def flow(**config: Any) -> Any:
    """The scheduler of rectified flows."""
    return diffusers.FlowMatchEulerDiscreteScheduler(**config)


def stable_diffusion(prediction: str) -> Any:
    """Stable Diffusion 1 or 2."""
    scheduler = diffusers.DDIMScheduler(
        **BETAS, prediction_type=prediction, set_alpha_to_one=True, timestep_spacing="trailing", steps_offset=1
    )
    text = parts.clip_text()
    tokens = parts.clip_tokenizer()
    return diffusers.StableDiffusionPipeline(parts.autoencoder(), text, tokens, unet(), scheduler, **SAFE)


@family
def sd1() -> Any:
    return stable_diffusion("epsilon")


@family
def sd2() -> Any:
    return stable_diffusion("v_prediction")


@family
def sdxl() -> Any:
    network = unet(
        cross_attention_dim=2 * parts.WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + parts.WIDTH,
    )
    texts = parts.clip_text(), parts.clip_text(projection=True)
    tokens = parts.clip_tokenizer(), parts.clip_tokenizer()
    betas = {name: value for name, value in BETAS.items() if name != "clip_sample"}
    scheduler = diffusers.EulerDiscreteScheduler(**betas, timestep_spacing="trailing")
    return diffusers.StableDiffusionXLPipeline(parts.autoencoder(), *texts, *tokens, network, scheduler)


@family
def sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * parts.WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * parts.WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    texts = [parts.clip_text(projection=True), parts.clip_text(projection=True)]
    t5 = parts.t5_text()
    t5.config.d_model = 2 * parts.WIDTH
    t5 = type(t5)(t5.config)
    return diffusers.StableDiffusion3Pipeline(
        transformer,
        flow(shift=3.0),
        parts.autoencoder(scaling_factor=1.5305, shift_factor=0.0609),
        texts[0],
        parts.clip_tokenizer(),
        texts[1],
        parts.clip_tokenizer(),
        t5,
        parts.t5_tokenizer(),
    )


@family
def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=parts.WIDTH,
        pooled_projection_dim=parts.WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    return diffusers.FluxPipeline(
        flow(shift=3.0, use_dynamic_shifting=True),
        parts.autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        parts.clip_text(),
        parts.clip_tokenizer(),
        parts.t5_text(),
        parts.t5_tokenizer(),
        transformer,
    )


@family
def flux2() -> Any:
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.bn.running_mean.normal_(std=0.1)
    vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * parts.WIDTH,
        timestep_guidance_channels=8,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    text = parts.qwen3_text(layers=28)
    return diffusers.Flux2KleinPipeline(
        flow(shift=3.0, use_dynamic_shifting=True), vae, text, parts.qwen_tokenizer(), transformer
    )


@family
def chroma() -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=parts.WIDTH,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    vae = parts.autoencoder(scaling_factor=0.3611, shift_factor=0.1159)
    return diffusers.ChromaPipeline(
        flow(shift=1.0, use_beta_sigmas=False), vae, parts.t5_text(), parts.t5_tokenizer(), transformer
    )


@family
def qwen_image() -> Any:
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[-0.7, 0.2, 0.1, 0.5],
        latents_std=[2.8, 1.4, 2.3, 0.9],
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=parts.WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    scheduler = flow(shift=1.0, use_dynamic_shifting=True, shift_terminal=0.02, time_shift_type="exponential")
    return diffusers.QwenImagePipeline(scheduler, vae, parts.qwen25_text(), parts.qwen_tokenizer(), transformer)


@family
def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=parts.WIDTH,
        axes_dims=[4, 4, 8],
        axes_lens=[1024, 32, 32],
    )
    vae = parts.autoencoder(scaling_factor=0.3611, shift_factor=0.1159)
    return diffusers.ZImagePipeline(flow(shift=3.0), vae, parts.qwen3_text(), parts.qwen_tokenizer(), transformer)


@family
def sana() -> Any:
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=parts.WIDTH,
        sample_size=16,
    )
    return diffusers.SanaPipeline(parts.gemma_tokenizer(), parts.gemma2_text(), vae, transformer, flow(shift=3.0))


@family
def lumina2() -> Any:
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=32,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 4, 8),
        axes_lens=(512, 32, 32),
        cap_feat_dim=parts.WIDTH,
    )
    vae = parts.autoencoder(levels=4, scaling_factor=0.3611, shift_factor=0.1159)
    return diffusers.Lumina2Pipeline(transformer, flow(shift=6.0), vae, parts.gemma2_text(), parts.gemma_tokenizer())


@family
def pixart() -> Any:
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        cross_attention_dim=16,
        caption_channels=parts.WIDTH,
        use_additional_conditions=False,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(
        beta_schedule="linear", beta_start=0.0001, beta_end=0.02, timestep_spacing="trailing"
    )
    return diffusers.PixArtSigmaPipeline(
        parts.t5_tokenizer(), parts.t5_text(), parts.autoencoder(), transformer, scheduler
    )


@family
def wan() -> Any:
    vae = diffusers.AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[-0.7, 0.2, 0.1, 0.5],
        latents_std=[2.8, 1.4, 2.3, 0.9],
    )
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        text_dim=parts.WIDTH,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        cross_attn_norm=True,
        rope_max_seq_len=32,
    )
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return diffusers.WanPipeline(parts.t5_tokenizer(), parts.t5_text(universal=True), vae, scheduler, transformer)


@family
def aura_flow() -> Any:
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=parts.WIDTH,
        caption_projection_dim=16,
        out_channels=4,
        pos_embed_max_size=64,
    )
    return diffusers.AuraFlowPipeline(
        parts.t5_tokenizer(), parts.t5_text(universal=True), parts.autoencoder(), transformer, flow(shift=1.73)
    )

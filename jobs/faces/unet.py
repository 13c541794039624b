"""The UNet in Stable Diffusion's format."""

from __future__ import annotations

from diffusers import AutoencoderKL, ModelMixin, SchedulerMixin, StableDiffusionPipeline, UNet2DConditionModel

from faces.architecture import Architecture, Reader
from faces.text import WIDTH, Text
from faces.vae import CHANNELS


class UNet(Architecture):
    """Told the text tower's last hidden states."""

    part, layout, network = "unet", "Stable Diffusion's", UNet2DConditionModel

    def new(self) -> UNet2DConditionModel:
        """16, 8 and 4 cells wide, attention at 8 and 4 (at 16 it trebles a step)."""
        return UNet2DConditionModel(
            sample_size=16,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(64, 96, 128),
            layers_per_block=1,
            cross_attention_dim=WIDTH,
            attention_head_dim=4,  # the number of heads: diffusers keeps the old name
            norm_num_groups=16,
        )

    def reader(self, network: ModelMixin, text: Text) -> Reader:
        """The states alone."""
        return lambda captions: {"encoder_hidden_states": text(captions)}

    def pipeline(
        self, network: ModelMixin, vae: AutoencoderKL | None, text: Text, scheduler: SchedulerMixin | None
    ) -> StableDiffusionPipeline:
        """Without a look at finished pictures."""
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=text.tower,
            tokenizer=text.tokenizer,
            unet=network,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

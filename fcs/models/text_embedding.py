"""Prompts as a Stable Diffusion network takes them: the last states of one text encoder, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fcs.models.textual_inversion import spelled

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

KEPT = 1024  # embeddings; 240 MB for Stable Diffusion 1.5


class TextEmbedding(nn.Module):
    """A tokenizer and a text encoder, with the embeddings of recent prompts.

    Args:
        tokenizer: of the encoder.
        encoder: CLIP's text tower.
    """

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = encoder
        self._kept: dict[str, Tensor] = {}

    @property
    def length(self) -> int:
        """Tokens that the encoder takes, those of beginning and end too; a tokenizer alone may not know."""
        positions = getattr(self.encoder.config, "max_position_embeddings", None)
        return min(self.tokenizer.model_max_length, positions or self.tokenizer.model_max_length)

    def truncates(self, prompt: str) -> bool:
        """Whether a prompt has more tokens than that."""
        return len(self.tokenizer(spelled(self.tokenizer, prompt), verbose=False).input_ids) > self.length

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings ``(N, L, D)`` of N prompts."""
        if len(self._kept) > KEPT:
            self._kept.clear()
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._kept:
                # One prompt at a time: an embedding must not depend on which prompts came with it.
                self._kept[prompt] = self._embedded(prompt)
        return torch.stack([self._kept[prompt].to(self.encoder.device) for prompt in prompts])

    def _embedded(self, prompt: str) -> Tensor:
        text = spelled(self.tokenizer, prompt)
        tokens = self.tokenizer(
            text, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        embedded: Tensor = self.encoder(tokens.input_ids.to(self.encoder.device))[0][0]
        return embedded

"""The image tower of a CLIP: embeddings to judge by, patch tokens to take a style from."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcs.errors import UsageError, first_line


class ImageTower(nn.Module):
    """The image half of a transformers ``CLIPModel``, in float32 and frozen.

    Args:
        folder: with config.json, model.safetensors and preprocessor_config.json.

    Raises:
        UsageError: a folder that holds none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import CLIPModel

        try:
            preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(f"{folder}: expected a folder with a CLIP ({first_line(error)})") from error
        self.tower, self.projection = model.vision_model, model.visual_projection
        self.size: int = self.tower.config.image_size
        self.patch: int = self.tower.config.patch_size
        self.register_buffer("mean", torch.tensor(preprocessor["image_mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessor["image_std"]).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    @property
    def blocks(self) -> int:
        """How many blocks the tower has."""
        return int(self.tower.config.num_hidden_layers)

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of unit length ``(N, D)`` of pictures ``(N, 3, H, W)`` in [-1, 1]."""
        return F.normalize(self.projection(self.tower(self._pixels(images)).pooler_output), dim=1)

    def tokens(self, images: Tensor, block: int) -> Tensor:
        """Patch tokens ``(N, P, D)`` after the first ``block`` blocks, the class token dropped."""
        found = self.tower(self._pixels(images), output_hidden_states=True)
        return found.hidden_states[block][:, 1:]

    def _pixels(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True)
        return ((images + 1) / 2 - self.mean) / self.std

"""CLIP: embeddings of pictures and texts for scores, patch tokens for style."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcs.core.deterministic import bicubic
from fcs.core.errors import UsageError, first_line


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

    def share(self, masks: Tensor) -> Tensor:
        """How much of each patch a mask ``(N, 1, H, W)`` in [0, 1] covers, ``(N, P)``."""
        side = self.size // self.patch
        return F.interpolate(masks, size=(side, side), mode="area").flatten(1)

    def _pixels(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (self.size, self.size):
            images = bicubic(images, (self.size, self.size), antialias=True)
        return ((images + 1) / 2 - self.mean) / self.std


class TextTower(nn.Module):
    """The text half of a transformers ``CLIPModel``, in float32 and frozen.

    Args:
        folder: with config.json, model.safetensors and CLIP's tokenizer, or with that in a folder ``tokenizer``
            beside it.

    Raises:
        UsageError: a folder that holds none.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import CLIPModel, CLIPTokenizer

        beside = folder.parent / "tokenizer"
        tokens = beside if (beside / "vocab.json").is_file() and not (folder / "vocab.json").is_file() else folder
        try:
            model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
            self.tokenizer = CLIPTokenizer.from_pretrained(tokens)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder}: expected a folder with a CLIP and its words ({first_line(error)})") from error
        self.tower, self.projection = model.text_model, model.text_projection
        self.length: int = model.config.text_config.max_position_embeddings
        self.eval().requires_grad_(False)

    def embed(self, texts: list[str]) -> Tensor:
        """Embeddings of unit length ``(N, D)``; longer texts are truncated."""
        words = self.tokenizer(texts, padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        found = self.tower(**{name: ids.to(self.projection.weight.device) for name, ids in words.items()})
        return F.normalize(self.projection(found.pooler_output), dim=1)


def gram(tokens: Tensor, weights: Tensor | None = None) -> Tensor:
    """``F^T F`` of patch tokens ``(N, P, D)``, ``(N, D, D)``; ``weights`` ``(N, P)`` weigh the patches.

    Not divided by the number of patches, as published: the norm of the step does not depend on it.
    """
    weighted = tokens if weights is None else tokens * weights.unsqueeze(2)
    return weighted.transpose(1, 2) @ tokens

"""Networks in whose features sets of pictures are compared: uint8 ``(N, C, H, W)``, C 1 or 3, to ``(N, F)``."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcs.core.errors import UsageError, first_line
from fcs.core.images import to_float
from fcs.metrics.features import DigitsClassifier, RandomFeatures
from fcs.models.clip import ImageTower


class Clip(nn.Module):
    """Embeddings of unit length of a CLIP folder's image tower."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tower = ImageTower(folder)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.tower.embed(colour(to_float(pictures)))


class Dino(nn.Module):
    """The class token of a DINOv2 folder, from pictures of 224 pixels (Stein et al. 2023, FD-DINOv2).

    Raises:
        UsageError: a folder that holds none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import Dinov2Model

        try:
            preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
            model = Dinov2Model.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
            self.size = int(preprocessor["crop_size"]["height"])
            self.register_buffer("mean", torch.tensor(preprocessor["image_mean"]).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(preprocessor["image_std"]).view(1, 3, 1, 1))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError.of("metrics.dinov2", folder, f"a folder with a DINOv2 ({first_line(error)})") from error
        self.model = model.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        images = colour(pictures.float() / 255)
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        return self.model((images - self.mean) / self.std).last_hidden_state[:, 0]


class Inception(nn.Module):
    """The 2,048 pooled features of torch-fidelity's Inception v3, which are those of the first FID.

    Raises:
        UsageError: torch-fidelity or torchvision is not installed, a file that holds something else.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            expected = f"another one, or pip install '.[metrics]' ({first_line(error)})"
            raise UsageError.of("metrics.features", "inception", expected) from error
        try:
            torch.load(file, map_location="cpu", weights_only=True)  # which torch-fidelity itself does not ask for
            self.model = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(file))
        except Exception as error:  # torch's and pickle's own
            expected = f"Inception's weights as torch-fidelity publishes them ({first_line(error)})"
            raise UsageError.of("metrics.inception", file, expected) from error

    def forward(self, pictures: Tensor) -> Tensor:
        (features,) = self.model(colour(pictures))
        return features


class Digits(nn.Module):
    """The last hidden layer of the classifier of digits that ships with the package."""

    def __init__(self) -> None:
        super().__init__()
        self.model = DigitsClassifier.load()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model.features(to_float(pictures))


class Random(nn.Module):
    """A network that was never trained, as a check on those that were."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = RandomFeatures(channels)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model.features(to_float(pictures))


def extractor(name: str, found: dict[str, Path], shape: tuple[int, int, int]) -> nn.Module:
    """The network ``clip``, ``dinov2``, ``inception``, ``digits`` or ``random``.

    Args:
        name: which.
        found: where the weights are, by name.
        shape: ``(C, H, W)`` of the pictures.

    Raises:
        UsageError: weights that do not load, pictures that the network cannot see.
    """
    if name == "digits":
        if shape != (1, 16, 16):
            raise UsageError.of("metrics.features", name, "another one for pictures that are no digits of 16x16")
        return Digits()
    if name == "random":
        return Random(shape[0])
    return {"clip": Clip, "dinov2": Dino, "inception": Inception}[name](found[name])


def colour(pictures: Tensor) -> Tensor:
    """Three channels, grey ones alike."""
    return pictures.expand(-1, 3, -1, -1)

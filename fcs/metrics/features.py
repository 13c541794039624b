"""Fixed features for judging results: a classifier of digits, and a random network as a check on it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parent.parent / "weights"


class DigitsClassifier(nn.Module):
    """Small convolutional classifier of 16x16 digits; its last hidden layer gives 64 features."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, 64)`` of pictures ``(N, 1, 16, 16)`` in [-1, 1]."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Class logits ``(N, 10)`` of pictures ``(N, 1, 16, 16)`` in [-1, 1]."""
        return self.head(self.features(images))

    @classmethod
    def load(cls) -> DigitsClassifier:
        """The classifier that ships with the package, in float32, frozen."""
        model = cls()
        state = load_file(WEIGHTS / "digits-classifier" / "model.safetensors")
        model.load_state_dict({name: value.float() for name, value in state.items()})
        return model.eval().requires_grad_(False)


class RandomFeatures(nn.Module):
    """A convolutional network with weights drawn from one seed and never trained.

    A method tuned to a trained feature extractor gains nothing here, so it is the check beside the first features.
    """

    def __init__(self, channels: int, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, width), (width, 2 * width), (2 * width, 2 * width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                fan_in = layer.in_channels * 9
                layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
        self.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, F)`` of pictures ``(N, C, H, W)`` in [-1, 1]: channel means and 2x2 pooled maps."""
        maps = self.body(images)
        return torch.cat([maps.mean((2, 3)), nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)], 1)

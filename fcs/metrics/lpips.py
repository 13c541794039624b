"""LPIPS through AlexNet, without torchvision: its published weights are enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torchmetrics
from safetensors.torch import load_file
from torch import Tensor, nn

from fcs.core.errors import UsageError, first_line

LEAST = 64  # pixels; below, the last layers see nothing of a picture
TAPS = (1, 4, 7, 9, 11)  # the rectified outputs of the five convolutions
# The linear heads that Zhang et al. fitted to people's judgements come with torchmetrics.
HEADS = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"


class Lpips(nn.Module):
    """The learned distance of pictures, version 0.1 with AlexNet (Zhang et al. 2018).

    Args:
        trunk: parameters of AlexNet's ``features``, by torchvision's names without that prefix.
        heads: weights ``(1, C, 1, 1)`` of the five linear heads.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Mapping[str, Tensor], heads: list[Tensor]) -> None:
        super().__init__()
        self.trunk = alexnet()
        self.trunk.load_state_dict(trunk)
        self.heads = nn.ParameterList(heads)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.float().eval().requires_grad_(False)

    @classmethod
    def load(cls, file: Path) -> Lpips:
        """With AlexNet's parameters from a ``.safetensors`` file, or torchvision's own ``.pth``.

        Raises:
            UsageError: a file that holds something else.
        """
        try:
            state = parameters(file)
            trunk = {name.removeprefix("features."): x for name, x in state.items() if name.startswith("features.")}
            linear = parameters(HEADS)
            return cls(trunk, [linear[f"lin{layer}.model.1.weight"] for layer in range(len(TAPS))])
        except Exception as error:  # torch, pickle and safetensors raise their own
            raise UsageError.of("metrics.lpips", file, f"AlexNet's weights ({first_line(error)})") from error

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances ``(N,)``, 0 for equal pictures, of ``(N, 3, H, W)`` in [-1, 1]."""
        pairs = zip(self._layers(first), self._layers(second), self.heads, strict=True)
        return torch.stack([((a - b).square() * head).sum(1).mean((1, 2)) for a, b, head in pairs]).sum(0)

    def _layers(self, pictures: Tensor) -> list[Tensor]:
        """Activations of the five layers, of unit length at each place."""
        x, found = (pictures - self.shift) / self.scale, []
        for number, layer in enumerate(self.trunk):
            x = layer(x)
            if number in TAPS:
                found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found


def alexnet() -> nn.Sequential:
    """The convolutional part of AlexNet as Krizhevsky 2014 has it, up to the last activation."""
    sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    layers: list[nn.Module] = []
    for number, (before, after, size, stride, padding) in enumerate(sizes):
        layers += [nn.Conv2d(before, after, size, stride, padding), nn.ReLU()]
        layers += [nn.MaxPool2d(3, 2)] if number < 2 else []
    return nn.Sequential(*layers)


def parameters(file: Path) -> dict[str, Tensor]:
    """Tensors by name, of a ``.safetensors`` file or of one that torch wrote; nothing else is unpickled."""
    if file.suffix == ".safetensors":
        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)

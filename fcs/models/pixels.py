"""Pixel models: diffusers' UNet2DModel, as a diffusion or a rectified flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from fcs.core.denoiser import Denoiser, Guided, Predicts
from fcs.core.errors import UsageError
from fcs.models.base import Schedule
from fcs.models.family import Family
from fcs.models.files import Found
from fcs.models.options import Options

if TYPE_CHECKING:
    from diffusers import UNet2DModel


class PixelNetwork(nn.Module):
    """A ``UNet2DModel`` as a plain function of (x, t)."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output ``(N, C, H, W)``; conditioning is ignored."""
        out: Tensor = self.unet(x, t, return_dict=False)[0]
        return out


class PixelModel(Family):
    """A model whose x_0 is the picture itself.

    Args:
        unet: the network.
        predicts: what it predicts.
        schedule: its levels.
        autocast: type for the network's arithmetic, None for its own.
    """

    layout = "a folder with a UNet2DModel"

    def __init__(
        self, unet: UNet2DModel, predicts: Predicts, schedule: Schedule, autocast: torch.dtype | None = None
    ) -> None:
        shape = _shape(unet.config)
        super().__init__(Denoiser(PixelNetwork(unet), predicts, autocast), schedule, shape, shape)

    @classmethod
    def is_in(cls, found: Found) -> bool:
        return not found.is_file and found.part("unet") == "UNet2DModel"

    @classmethod
    def load(cls, found: Found, autocast: torch.dtype | None, options: Options) -> Self:
        from diffusers import UNet2DModel

        found.require("unet")
        found.require_weights("unet")
        predicts, schedule = found.schedule()
        reading = {"torch_dtype": torch.float32, "use_safetensors": True, "variant": found.variant}
        unet = UNet2DModel.from_pretrained(found.path / "unet", **reading)
        _check_size(_shape(unet.config), options)
        return cls(unet, predicts, schedule, autocast)

    @classmethod
    def picture_shape_in(cls, found: Found, options: Options) -> tuple[int, int, int] | None:
        config = found.json("unet/config.json")
        if not {"in_channels", "sample_size"} <= config.keys():
            return None
        _check_size(_shape(config), options)
        return _shape(config)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, z: Tensor) -> Tensor:
        return z

    def guided(self, prompts: Sequence[str], negative: str = "", scale: float = 1.0) -> Guided:
        return Guided(self.denoiser, scale=scale)


def _shape(unet: Mapping[str, Any]) -> tuple[int, int, int]:
    """``(C, H, W)`` of what a UNet with this configuration sees."""
    size = unet["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return unet["in_channels"], height, width


def _check_size(shape: tuple[int, int, int], options: Options) -> None:
    """Refuse another size than the network's."""
    if options.size is not None and tuple(options.size) != shape[1:]:
        raise UsageError.of("model.size", list(options.size), f"{list(shape[1:])}, which a pixel model keeps")

"""Pictures as tensors: 8-bit files against [-1, 1], and holes that are filled before encoding."""

from __future__ import annotations

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SWEEPS = 8  # relaxations per pyramid level: on average within one grey value of the harmonic fill


def to_float(pictures: Tensor) -> Tensor:
    """uint8 ``(N, C, H, W)`` to float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def to_uint8(pictures: Tensor) -> Tensor:
    """Floats in [-1, 1] (clipped) to uint8."""
    return ((pictures.float() + 1) * 127.5).round().clamp(0, 255).byte()


def to_pil(picture: Tensor) -> Image.Image:
    """A ``(C, H, W)`` uint8 tensor, 1 or 3 channels, as a PIL picture."""
    array = picture.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def paste(made: Tensor, given: Tensor, mask: Tensor) -> Tensor:
    """Keep the given pixels, uint8 ``(N, C, H, W)``.

    Where the mask is 0 the given byte comes out unchanged; grey blends.

    Args:
        made: the sampled pictures.
        given: the pictures that were read.
        mask: ``(N, 1, H, W)`` uint8, 255 = generated.
    """
    weight = mask.float() / 255
    blend = given.float() + weight * (made.float() - given.float())
    return blend.round().byte()


def without_seam(made: Tensor, given: Tensor, known: Tensor) -> Tensor:
    """The generated picture, shifted so that it meets the given pixels at the border of the known part.

    The difference at the known pixels is continued harmonically into the hole and added there: Poisson blending
    (Perez et al. 2003), which keeps the generated gradients. Without it the round
    trip of an autoencoder shows as an edge.

    Args:
        made, given: ``(N, C, H, W)`` floats.
        known: ``(N, 1, H, W)`` in {0, 1}, 1 = known.
    """
    return made + fill_holes(given - made, known)


def fill_holes(pictures: Tensor, known: Tensor) -> Tensor:
    """Continue the known pixels smoothly into the holes: nearly harmonic there, free at the picture's edge.

    A pyramid of averages over known pixels going down; going up, interpolation and a few relaxations of Laplace's
    equation (cascadic multigrid, Bornemann and Deuflhard 1996).

    Args:
        pictures: ``(N, C, H, W)`` floats.
        known: ``(N, 1, H, W)`` in {0, 1}, 1 = known.
    """
    if max(pictures.shape[-2:]) == 1:
        return pictures * known
    weight = F.avg_pool2d(known, 2, ceil_mode=True)
    coarse = F.avg_pool2d(pictures * known, 2, ceil_mode=True) / weight.clamp(min=1e-6)
    coarse = fill_holes(coarse, (weight > 0).to(known.dtype))
    filled = F.interpolate(coarse, size=pictures.shape[-2:], mode="bilinear", align_corners=False)
    for _ in range(SWEEPS):
        around = F.pad(known * pictures + (1 - known) * filled, (1, 1, 1, 1), mode="replicate")
        across = around[..., 1:-1, :-2] + around[..., 1:-1, 2:]
        along = around[..., :-2, 1:-1] + around[..., 2:, 1:-1]
        filled = (across + along) / 4
    return known * pictures + (1 - known) * filled

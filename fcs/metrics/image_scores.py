"""Scores of pictures against their references."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fcs.core.tf32 import no_tf32
from fcs.metrics.seam import seam
from fcs.metrics.ssim import WINDOW, local_ssim

# That are compared at once: of the widest tensors there are twelve channels. A CPU gets memory for more of them anew
# from the system each time, which takes it three times as long as comparing.
PIXELS = {"cpu": 512 * 512}
PIXELS_ELSEWHERE = 8 * 512 * 512
NAMES = ("psnr", "psnr_generated", "psnr_kept", "seam", "ssim", "ssim_generated", "ssim_kept")


def scores(pictures: Tensor, references: Tensor | None, masks: Tensor | None) -> list[dict[str, float | None]]:
    """PSNR and SSIM over the whole picture, its generated and its kept part, and the seam between these.

    Args:
        pictures: uint8 ``(N, C, H, W)`` as written.
        references: the same shape, or None where there is no truth.
        masks: uint8 ``(N, 1, H, W)``, above 0 = generated, or None where all of it was.

    Returns:
        One dictionary per picture, in dB for PSNR, in 8-bit steps for the seam; None where a score does not exist (no
        reference, equal pictures, a picture below the 11 pixels of SSIM's window, a part that is empty, no border).
    """
    pixels = PIXELS.get(pictures.device.type, PIXELS_ELSEWHERE)
    at_once = max(1, pixels // (pictures.shape[-1] * pictures.shape[-2]))
    each = []
    with no_tf32(), torch.no_grad():
        for first in range(0, len(pictures), at_once):
            part = slice(first, first + at_once)
            seen = (None if one is None else one[part] for one in (references, masks))
            each.append(_columns(pictures[part], *seen))
    rows = torch.cat(each).tolist()
    return [{name: finite(value) for name, value in zip(NAMES, row, strict=True)} for row in rows]


def _columns(pictures: Tensor, references: Tensor | None, masks: Tensor | None) -> Tensor:
    """Scores ``(N, S)`` in the order of their names; NaN where one does not exist."""
    nothing = torch.full((len(pictures),), math.nan, device=pictures.device)
    found = {} if masks is None else {"seam": seam(pictures, masks)}
    if references is not None:
        found |= _against(pictures.float() / 255, references.float() / 255, masks)
    return torch.stack([found.get(name, nothing) for name in NAMES], 1)


def _against(made: Tensor, truth: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
    """The scores that need a reference; pictures in [0, 1]."""
    everything = torch.ones_like(made[:, 0])
    generated = everything if masks is None else (masks[:, 0] > 0).float()
    parts = {"": everything, "_generated": generated}
    parts |= {} if masks is None else {"_kept": 1 - generated}
    error = (made - truth).square().mean(1)
    found = {f"psnr{part}": -10 * torch.log10(_mean(error, where)) for part, where in parts.items()}
    if min(made.shape[-2:]) >= WINDOW:
        local = local_ssim(made, truth).mean(1)
        found |= {f"ssim{part}": _mean(local, where) for part, where in parts.items()}
    return found


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of each picture's values ``(N, H, W)`` over a part of it ``(N, H, W)``; NaN where that is empty."""
    return (values * where).flatten(1).sum(1) / where.flatten(1).sum(1)


def finite(value: float) -> float | None:
    """The value, or None where it is infinite or none."""
    return value if math.isfinite(value) else None

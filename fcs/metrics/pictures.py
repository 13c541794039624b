"""Scores of a picture against its reference, one row a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from fcs.metrics.seam import seam

NAMES = ("psnr", "psnr_generated", "seam", "ssim")


def scores(pictures: Tensor, references: Tensor | None, masks: Tensor | None) -> list[dict[str, float | None]]:
    """PSNR and SSIM over the whole picture, PSNR over its generated part, the seam around that.

    Args:
        pictures: uint8 ``(N, C, H, W)`` as written.
        references: the same shape, or None where there is no truth.
        masks: uint8 ``(N, 1, H, W)``, above 0 = generated, or None where all of it was.

    Returns:
        A dictionary a row, in dB for PSNR, in 8-bit steps for the seam; None where a score does not exist (no
        reference, equal pictures, a picture below the 11 pixels of SSIM's window, nothing generated, no border).
    """
    columns = {name: torch.full((len(pictures),), math.nan) for name in NAMES}
    if masks is not None:
        columns["seam"] = seam(pictures, masks)
    if references is not None:
        columns |= _against(pictures.float() / 255, references.float() / 255, masks)
    return [{name: _finite(values[i].item()) for name, values in columns.items()} for i in range(len(pictures))]


def _against(made: Tensor, truth: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
    """The scores that need a reference; pictures in [0, 1]."""
    psnr = peak_signal_noise_ratio(made, truth, data_range=1.0, reduction="none", dim=(1, 2, 3)).reshape(-1)
    generated = torch.ones_like(made[:, :1]) if masks is None else (masks > 0).float()
    weight = generated.expand_as(made).flatten(1).sum(1)
    error = ((made - truth).square() * generated).flatten(1).sum(1)
    return {"psnr": psnr, "psnr_generated": -10 * torch.log10(error / weight), "ssim": _ssim(made, truth)}


def _ssim(made: Tensor, truth: Tensor) -> Tensor:
    if min(made.shape[-2:]) < 11:
        return torch.full((len(made),), math.nan)
    values = structural_similarity_index_measure(made, truth, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)
    return values.reshape(-1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

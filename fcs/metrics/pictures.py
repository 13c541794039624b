"""Scores of a picture against its reference, one row a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

NAMES = ("psnr", "psnr_generated", "ssim")


def scores(pictures: Tensor, references: Tensor | None, masks: Tensor | None) -> list[dict[str, float | None]]:
    """PSNR and SSIM over the whole picture, PSNR over its generated part.

    Args:
        pictures: uint8 ``(N, C, H, W)`` as written.
        references: the same shape, or None where there is no truth.
        masks: uint8 ``(N, 1, H, W)``, above 0 = generated, or None where all of it was.

    Returns:
        A dictionary a row, in dB for PSNR; None where a score does not exist (no reference, equal pictures, a
        picture below the 11 pixels of SSIM's window, nothing generated).
    """
    if references is None:
        return [dict.fromkeys(NAMES) for _ in range(len(pictures))]
    made, truth = pictures.float() / 255, references.float() / 255
    psnr = peak_signal_noise_ratio(made, truth, data_range=1.0, reduction="none", dim=(1, 2, 3)).reshape(-1)
    generated = torch.ones_like(made[:, :1]) if masks is None else (masks > 0).float()
    weight = generated.expand_as(made).flatten(1).sum(1)
    error = ((made - truth).square() * generated).flatten(1).sum(1)
    psnr_generated = -10 * torch.log10(error / weight)
    columns = {"psnr": psnr, "psnr_generated": psnr_generated, "ssim": _ssim(made, truth)}
    return [{name: _finite(values[i].item()) for name, values in columns.items()} for i in range(len(made))]


def _ssim(made: Tensor, truth: Tensor) -> Tensor:
    if min(made.shape[-2:]) < 11:
        return torch.full((len(made),), math.nan)
    values = structural_similarity_index_measure(made, truth, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)
    return values.reshape(-1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

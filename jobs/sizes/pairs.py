"""The same holes of the same pictures, completed at the picture's own size and at the model's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcs.bench.paired import interval
from fcs.core.boxes import whole
from fcs.core.crops import mask_seen
from fcs.core.native_picture import NativePicture
from fcs.metrics.seam import seam_sums

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Figure = tuple[float, float]  # seam, and mean squared error of what was generated


def own_size(made: Pixels, given: Pixels, native: NativePicture) -> Figure:
    """The figures of a completed picture, both ``(H, W, C)``."""
    mask = native.mask_in(whole(native.width, native.height))
    return _quotients(_sums(_tensor(made), _tensor(given), _tensor(mask)))


def models_size(made: Sequence[Pixels], native: NativePicture) -> Figure:
    """The same of all holes of a picture, each in its own crop, as the model made that ``(H, W, C)``."""
    sums = torch.zeros(4)
    for crop, pixels in zip(native.crops, made, strict=True):
        inside = crop.frame.shared(whole(native.width, native.height))
        # Holes that reach in from other crops are generated too, and count where their own crop is.
        mask = mask_seen(crop.holes, crop.frame, inside, *pixels.shape[1::-1])
        sums += _sums(_tensor(pixels), crop.image, _tensor(mask))
    return _quotients(sums)


def paired(here: Mapping[str, Figure], there: Mapping[str, Figure]) -> dict[str, Any]:
    """Means over the pictures in which both figures exist, and the mean difference, own size minus the model's.

    Args:
        here: figures at the own size, by picture.
        there: at the model's.
    """
    found: dict[str, Any] = {"records": len(here)}
    for place, name in enumerate(("seam", "psnr_generated")):
        pairs = [(here[key][place], there[key][place]) for key in here]
        values = torch.tensor([pair for pair in pairs if all(map(math.isfinite, pair))], dtype=torch.float64)
        values = values if name == "seam" else -10 * values.log10()
        own, model = values.unbind(1)
        difference = interval(own - model, torch.arange(len(values)))
        found[name] = {
            "records": len(values),
            "own_size": own.mean().item(),
            "models_size": model.mean().item(),
            "difference": difference,
        }
    return found


def _sums(made: Tensor, given: Tensor, mask: Tensor) -> Tensor:
    """Excess of jumps, runs, squared errors in the generated part, their number; pictures ``(C, H, W)``."""
    excess, runs = seam_sums(made[None], mask[None])
    hidden = (mask > 0).expand_as(made)
    error = ((made.float() - given.float()) / 255).square()[hidden]
    return torch.stack([excess[0], runs[0], error.sum(), torch.tensor(float(error.numel()))])


def _quotients(sums: Tensor) -> Figure:
    excess, runs, error, count = sums.tolist()
    return (excess / runs if runs else math.nan), (error / count if count else math.nan)


def _tensor(pixels: Pixels) -> Tensor:
    """``(C, H, W)`` of ``(H, W)`` or ``(H, W, C)``."""
    return torch.from_numpy(np.array(pixels)).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)

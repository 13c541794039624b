"""LPIPS, where the network that it looks through is on this machine already."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

from fcs.pictures import to_float

WEIGHTS = "alexnet-owt-7be5be79.pth"  # torchvision's name for them
LEAST = 64  # pixels below which the network's layers run out


def lpips(pictures: Tensor, truth: Tensor) -> tuple[float | None, str]:
    """Mean over uint8 pictures ``(N, C, H, W)``, or None and why there is none."""
    if min(pictures.shape[-2:]) < LEAST:
        return None, f"no LPIPS below {LEAST} pixels"
    if find_spec("torchvision") is None or not (Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS).exists():
        return None, "no LPIPS without torchvision and its AlexNet"
    first, second = (to_float(part).expand(-1, 3, -1, -1) for part in (pictures, truth))
    return float(learned_perceptual_image_patch_similarity(first, second, net_type="alex")), ""

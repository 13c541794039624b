"""LPIPS, where AlexNet's weights are on this machine already."""

from __future__ import annotations

import torch
from torch import Tensor

from fcs.core.images import to_float
from fcs.metrics.lpips import LEAST, Lpips
from fcs.metrics.weights import FILES

BATCH = 64


@torch.no_grad()
def lpips(pictures: Tensor, truth: Tensor) -> tuple[float | None, str]:
    """Mean over uint8 pictures ``(N, C, H, W)``, or None and why there is none."""
    if min(pictures.shape[-2:]) < LEAST:
        return None, f"no LPIPS below {LEAST} pixels"
    file = FILES["lpips"]
    if not file.place.exists():
        return None, f"no LPIPS without {file.name} in torch's hub cache"
    network = Lpips.load(file.place)
    pairs = zip(torch.split(pictures, BATCH), torch.split(truth, BATCH), strict=True)
    parts = [network(*(to_float(one).expand(-1, 3, -1, -1) for one in pair)) for pair in pairs]
    return float(torch.cat(parts).mean()), ""

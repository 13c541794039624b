"""SSIM around each pixel (Wang et al. 2004), by two passes of one dimension: a fifth of the work of one of two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11  # pixels of the Gaussian window, on each side
SIGMA = 1.5  # its standard deviation
C1, C2 = 0.01**2, 0.03**2  # for pictures in [0, 1]


def local_ssim(made: Tensor, truth: Tensor) -> Tensor:
    """SSIM around each pixel of pictures in [0, 1], ``(N, C, H, W)``; at the border the picture is mirrored.

    The values are torchmetrics' up to rounding. Sides must be at least the 11 pixels of the window.
    """
    moments = torch.cat([made, truth, made * made, truth * truth, made * truth], 1)
    a, b, aa, bb, ab = _blurred(moments).chunk(5, 1)
    var_a, var_b, cov = (aa - a * a).clamp(min=0), (bb - b * b).clamp(min=0), ab - a * b
    return (2 * a * b + C1) * (2 * cov + C2) / ((a * a + b * b + C1) * (var_a + var_b + C2))


def _blurred(pictures: Tensor) -> Tensor:
    """Means under the window, ``(N, C, H, W)``."""
    reach = WINDOW // 2
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64, device=pictures.device) / SIGMA) ** 2)
    weight = (line / line.sum()).to(pictures.dtype)
    padded = F.pad(pictures, (reach, reach, reach, reach), mode="reflect").to(memory_format=torch.channels_last)
    count = pictures.shape[1]
    across = F.conv2d(padded, weight.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)
    return F.conv2d(across, weight.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)

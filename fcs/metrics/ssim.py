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
    # By sum and difference: four means where the two pictures would take five, and less to cancel in the covariance.
    plus, minus = made + truth, made - truth
    means = _blurred(torch.cat([plus, minus, plus * plus, minus * minus], 1))
    plus, minus, plus_square, minus_square = means.chunk(4, 1)
    of_plus, of_minus = plus * plus, minus * minus
    var_plus, var_minus = (plus_square - of_plus).clamp(min=0), (minus_square - of_minus).clamp(min=0)
    luminance = ((of_plus - of_minus) / 2 + C1) / ((of_plus + of_minus) / 2 + C1)
    return luminance * ((var_plus - var_minus) / 2 + C2) / ((var_plus + var_minus) / 2 + C2)


def _blurred(pictures: Tensor) -> Tensor:
    """Means under the window, ``(N, C, H, W)``."""
    reach = WINDOW // 2
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64, device=pictures.device) / SIGMA) ** 2)
    weight = (line / line.sum()).to(pictures.dtype)
    padded = F.pad(pictures, (reach, reach, reach, reach), mode="reflect").to(memory_format=torch.channels_last)
    count = pictures.shape[1]
    across = F.conv2d(padded, weight.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)
    return F.conv2d(across, weight.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)

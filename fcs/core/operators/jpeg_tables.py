"""The numbers of JPEG (ITU-T T.81 | ISO/IEC 10918-1): quantization tables, cosines, colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIDE = 8  # of a block
# Annex K, tables K.1 and K.2, which libjpeg scales by quality.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# ITU-R BT.601 over the full range, as JFIF has it.
TO_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float64
)


def steps(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Quantization steps of libjpeg ``(8, 8)`` for a quality of 1 to 100, vertical frequency first."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).double()


def cosines() -> Tensor:
    """The orthonormal discrete cosine transform of 8 numbers, ``(frequency, place)``."""
    k, place = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    basis = torch.cos(math.pi * k.double() * (2 * place + 1) / (2 * SIDE)) * (2 / SIDE) ** 0.5
    basis[0] /= 2**0.5
    return basis


def unsmoothing(size: int) -> Tensor:
    """The inverse of what a decoder's triangle filter leaves of averages over pairs, ``(size, size)``.

    A chroma plane of half the size is enlarged by ``(3 c_i + c_(i +- 1)) / 4``; averaged over pairs again it is
    ``(c_(i-1) + 6 c_i + c_(i+1)) / 8``, with the border repeated.
    """
    filter = 6 * torch.eye(size, dtype=torch.float64)
    filter += torch.diag(torch.ones(size - 1, dtype=torch.float64), 1)
    filter += torch.diag(torch.ones(size - 1, dtype=torch.float64), -1)
    filter[0, 0] += 1
    filter[-1, -1] += 1
    return torch.linalg.inv(filter / 8)

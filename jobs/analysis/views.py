"""What an edit does, as pictures: one entry's response, and a square added to a grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from analysis.points import Subject
from analysis.spectra import Tangent
from fcs.core.constraints import Known
from fcs.core.directions import Direction
from fcs.core.levels import Level
from fcs.core.per_sample import max_norm, safe_divide

MOVES, SIZE = 5, 1.0  # as published for the grid


def response(tangent: Tangent) -> tuple[Tensor, Tensor]:
    """``J e`` and ``J^T e`` ``(h, w)`` for e one in the middle cell, summed over channels by absolute value."""
    e = torch.zeros_like(tangent.x)
    e[:, 0, e.shape[2] // 2, e.shape[3] // 2] = 1
    return tangent.times(e)[0].abs().sum(0), tangent.transposed(e)[0].abs().sum(0)


def grid(shape: tuple[int, int, int], cells: int = 4) -> Tensor:
    """A white grid on black, ``(1, C, H, W)`` in [-1, 1]."""
    channels, height, width = shape
    picture = -torch.ones(1, channels, height, width)
    step, thick = height // cells, max(1, height // (8 * cells))
    for place in range(step // 2, height, step):
        picture[:, :, place : place + thick] = 1
        picture[..., place : place + thick] = 1
    return picture


def square(shape: tuple[int, int, int]) -> Tensor:
    """Where the square is: the middle quarter of each side, ``(1, 1, H, W)``, 1 inside."""
    _, height, width = shape
    inside = torch.zeros(1, 1, height, width)
    inside[..., 3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = 1
    return inside


def with_square(picture: Tensor) -> Tensor:
    """The picture with a red square in its middle; a grey one where there is one channel."""
    colour = [0.0] if picture.shape[1] == 1 else [1.0, -1.0, -1.0]
    inside = square((picture.shape[1], picture.shape[2], picture.shape[3]))
    return picture + inside * (torch.tensor(colour).view(1, -1, 1, 1) - picture)


def edited(subject: Subject, level: Level, direction: Direction, moves: int = MOVES, seed: int = 0) -> Tensor:
    """The picture of x_0 after moves towards a grid whose middle has a red square (submission, sec. 3.2).

    Only the middle is known; x_t starts as the blurred grid without the square, noised to the level.

    Returns:
        ``(1, C, H, W)`` in [-1, 1].
    """
    model = subject.model
    plain = grid(model.picture_shape)
    blurred = F.avg_pool2d(plain, 3, stride=1, padding=1, count_include_pad=False)
    x = subject.noised(blurred, level, seed)
    f = subject.denoiser(subject.batches[0], level)
    known = -F.max_pool2d(-square(model.picture_shape), model.factor)  # cells that lie in the square altogether
    with torch.no_grad():
        target = model.encode(with_square(plain).to(x))
        constraint = Known(target, known.to(x))
        x0, apply = direction.linearize(f, x)
        for _ in range(moves):
            d = apply(constraint.error(x0))
            x = x + SIZE * safe_divide(d, max_norm(d))
            x0, apply = direction.linearize(f, x)
        return model.decode(x0).clamp(-1, 1).cpu().float()

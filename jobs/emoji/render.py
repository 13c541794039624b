"""Random renderings of glyphs in batches: placed, turned, scaled, over gradients and soft patterns."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 64


class Renderer(nn.Module):
    """Draws glyphs (n, 4, 136, 136), uint8 straight alpha, as pictures (N, 3, 64, 64) in [-1, 1].

    Everything random comes from the generator given, on the CPU: a seed gives the same pictures anywhere.
    """

    def __init__(self, bitmaps: Tensor, mirrors: Tensor) -> None:
        super().__init__()
        alpha = bitmaps[:, 3:]
        colour = (bitmaps[:, :3].short() * alpha + 127) // 255  # premultiplied, so that edges mix rightly
        self.register_buffer("bitmaps", torch.cat([colour.to(torch.uint8), alpha], 1))
        self.register_buffer("mirrors", mirrors)
        self.bitmaps: Tensor
        self.mirrors: Tensor

    def forward(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Pictures of the glyphs with these indices (N,)."""
        device = self.bitmaps.device
        indices = indices.to(device)
        layer = self.bitmaps[indices].float() / 255
        theta = placements(len(indices), self.mirrors[indices].cpu(), generator).to(device)
        grid = F.affine_grid(theta, [len(indices), 4, 2 * SIZE, 2 * SIZE], align_corners=False)
        # twice the size and then the mean of 2 x 2: antialiased, as the bitmaps are about that size
        layer = F.avg_pool2d(F.grid_sample(layer, grid, align_corners=False), 2)
        back = backgrounds(len(indices), generator).to(device)
        return (layer[:, :3] + (1 - layer[:, 3:]) * back) * 2 - 1


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform random numbers in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def placements(n: int, mirrors: Tensor, generator: torch.Generator) -> Tensor:
    """Affine maps from picture to glyph coordinates, (n, 2, 3): off-centre, turned to 20 degrees, scaled."""
    zoom = uniform((n,), 0.62, 0.98, generator)
    angle = uniform((n,), -1, 1, generator) * math.radians(20)
    shift = uniform((n, 2), -1, 1, generator) * (1.08 - zoom)[:, None].clamp(min=0.1)
    sign = torch.where(mirrors & (torch.rand(n, generator=generator) < 0.5), -1.0, 1.0)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turn = torch.stack([torch.stack([sign * cos, sign * sin], 1), torch.stack([-sin, cos], 1)], 1)
    return torch.cat([turn, -(turn @ shift[..., None])], 2)


def backgrounds(n: int, generator: torch.Generator) -> Tensor:
    """Two colours mixed by a linear gradient, a random field or soft stripes, (n, 3, 64, 64) in [0, 1]."""
    first, second = colours(n, generator), colours(n, generator)
    second = torch.lerp(first, second, uniform((n, 1, 1, 1), 0.2, 1, generator))
    kind = torch.rand((n, 1, 1, 1), generator=generator)
    ramp, field, stripes = _ramp(n, generator), _field(n, generator), _stripes(n, generator)
    weight = torch.where(kind < 0.6, ramp, torch.where(kind < 0.85, field, stripes))
    return first + weight * (second - first)


def colours(n: int, generator: torch.Generator) -> Tensor:
    """Random colours over the full range of lightness, (n, 3, 1, 1): grey moved towards a random hue."""
    lightness = torch.rand((n, 1), generator=generator)
    hue = torch.rand((n, 3), generator=generator)
    chroma = hue - hue.mean(1, keepdim=True)
    room = torch.minimum(lightness, 1 - lightness) / chroma.abs().amax(1, keepdim=True).clamp(min=1e-6)
    return (lightness + chroma * room * torch.rand((n, 1), generator=generator).sqrt())[..., None, None]


def _ramp(n: int, generator: torch.Generator) -> Tensor:
    return (_along(n, generator) * 0.5 + 0.5).clamp(0, 1)


def _along(n: int, generator: torch.Generator) -> Tensor:
    """The coordinate along a random direction, (n, 1, 64, 64), -1 to 1 across the picture."""
    line = torch.linspace(-1, 1, SIZE)
    angle = uniform((n, 1, 1, 1), 0, 2 * math.pi, generator)
    across = torch.cos(angle).abs() + torch.sin(angle).abs()
    return (line[None, None, None, :] * torch.cos(angle) + line[None, None, :, None] * torch.sin(angle)) / across


def _field(n: int, generator: torch.Generator) -> Tensor:
    coarse = torch.rand((n, 1, 4, 4), generator=generator)
    # bicubic interpolation is linear and separable: as two products it costs next to nothing
    spread = F.interpolate(torch.eye(4)[None, None], size=(SIZE, 4), mode="bicubic", align_corners=True)[0, 0]
    return (spread @ coarse @ spread.T).clamp(0, 1)


def _stripes(n: int, generator: torch.Generator) -> Tensor:
    waves = uniform((n, 1, 1, 1), 1.5, 4, generator)
    phase = uniform((n, 1, 1, 1), 0, 2 * math.pi, generator)
    return 0.5 + 0.35 * torch.sin(math.pi * waves * _along(n, generator) + phase)

"""Few colours; its inversion removes bands and noise of a palette."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcs.core.images import to_float, to_uint8
from fcs.core.operators.cells import Cell, Cells

SWEEPS = 30  # over the half-spaces; in the worst corner of a cell they leave a grey level, mostly nothing


class Voronoi(Cell):
    """Pictures whose pixels are nearest to the given colours of a palette.

    Args:
        own: each pixel's colour ``(N, C, H, W)`` in [-1, 1], one of the palette's.
        palette: ``(N, K, C)`` or ``(1, K, C)``; a colour may stand there more than once.
    """

    passes = 3  # cells of colours reach little beyond the range

    def __init__(self, own: Tensor, palette: Tensor) -> None:
        self.own = own
        self.palette = palette

    def excess(self, x: Tensor) -> Tensor:
        return x - self.nearest(x.detach())

    def nearest(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """By Hildreth's method: one half-space after the other, each with the push that it has given so far.

        Hildreth 1957; Dykstra's algorithm for half-spaces.
        """
        made, pushes = x, [x.new_zeros(len(x), 1, *x.shape[2:])] * self.palette.shape[1]
        planes = [self._plane(colour, margin) for colour in self.palette.unbind(1)]
        for _ in range(SWEEPS):
            for number, (normal, end) in enumerate(planes):
                push = (pushes[number] + (normal * made).sum(1, keepdim=True) - end).clamp(min=0)
                made, pushes[number] = made - (push - pushes[number]) * normal, push
        return made

    def share_inside(self, x: Tensor) -> Tensor:
        """Share of the pixels that are nearest to their own colour, ``(N,)``."""
        # Where two colours are equally near, a palette's maker may have taken either.
        gaps = [(self._plane(colour)[0] * x).sum(1) - self._plane(colour)[1][:, 0] for colour in self.palette.unbind(1)]
        return (torch.stack(gaps).amax(0) <= 1e-3).float().flatten(1).mean(1)

    def _plane(self, colour: Tensor, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """The half-space ``n x <= b`` of what is nearer to the own colour, n of length 1; all where it is that one."""
        other = colour[:, :, None, None]
        apart = other - self.own
        length = torch.linalg.vector_norm(apart, dim=1, keepdim=True)
        normal = apart / length.clamp(min=1e-6)
        end = ((other + self.own) * normal).sum(1, keepdim=True) / 2 - (length / 4).clamp(max=margin)
        return normal, end


class Quantize(Cells):
    """Each pixel becomes the nearest colour of a palette, without dithering. A pixel leaves the colour's Voronoi cell.

    Args:
        colours: how many, 2 to 256.
        palette: each ``picture``'s own (Pillow's median cut, or the colours found in the given measurement), or
            ``uniform``: the same number of steps in each channel.

    Raises:
        ValueError: a number outside that.
    """

    def __init__(self, colours: int = 8, palette: Literal["picture", "uniform"] = "picture") -> None:
        if not 2 <= colours <= 256:
            raise ValueError(f"colours={colours}: expected 2 to 256")
        self.colours = colours
        self.palette = palette

    def fits(self, shape: tuple[int, int, int]) -> str | None:
        if self.palette == "picture" or shape[0] == 1 or round(self.colours ** (1 / 3)) ** 3 == self.colours:
            return None
        return f"task.operator.colours of a third power (8, 27, 64, 125, 216) for a uniform palette, not {self.colours}"

    def A(self, x: Tensor) -> Tensor:
        if self.palette == "uniform":
            return nearest_colours(x, self._uniform(x))
        return torch.cat([nearest_colours(one, median_cut(one, self.colours)) for one in x[:, None]])

    def cell(self, y: Tensor) -> Voronoi:
        palette = self._uniform(y) if self.palette == "uniform" else self._found(y)
        return Voronoi(nearest_colours(y, palette), palette)

    def refuses(self, y: Tensor) -> dict[int, str]:
        if self.palette == "uniform":
            apart = ((nearest_colours(y, self._uniform(y)) - y).abs().flatten(1).amax(1) > 1.01 / 255).tolist()
            detail = f"other colours than a uniform palette of {self.colours}"
            return {slot: f"bad_palette: {detail}" for slot, wrong in enumerate(apart) if wrong}
        counts = [len(torch.unique(to_uint8(one).flatten(1), dim=1)[0]) for one in y]
        expected = f"expected {self.colours} at most (task.operator.colours), without dithering"
        return {
            slot: f"bad_palette: {count} colours, {expected}"
            for slot, count in enumerate(counts)
            if count > self.colours
        }

    def _found(self, y: Tensor) -> Tensor:
        """The most frequent colours of each measurement, ``(N, K, C)``; the first fills up where there are fewer."""
        made = []
        for one in y:
            found, counts = torch.unique(one.flatten(1), dim=1, return_counts=True)
            order = counts.argsort(descending=True, stable=True)[: self.colours]
            chosen = found[:, order].mT
            made.append(torch.cat([chosen, chosen[:1].expand(self.colours - len(chosen), -1)]))
        return torch.stack(made)

    def _uniform(self, x: Tensor) -> Tensor:
        """The palette ``(1, K, C)``."""
        channels = x.shape[1]
        line = torch.linspace(-1, 1, round(self.colours ** (1 / channels)), dtype=x.dtype, device=x.device)
        return torch.cartesian_prod(*[line] * channels).reshape(1, -1, channels)


def median_cut(picture: Tensor, colours: int) -> Tensor:
    """Pillow's palette of one picture ``(1, C, H, W)`` in [-1, 1], ``(1, K, C)``."""
    pixels = to_uint8(picture)[0].permute(1, 2, 0).cpu().numpy()
    cut = Image.fromarray(np.ascontiguousarray(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels))
    cut = cut.quantize(colours, Image.Quantize.MEDIANCUT)
    used = torch.tensor(cut.getpalette(), dtype=torch.uint8).reshape(-1, 3)[: len(cut.getcolors())]
    return to_float(used)[None, :, : picture.shape[1]].to(picture)


def nearest_colours(x: Tensor, palette: Tensor) -> Tensor:
    """The colour of a palette ``(N, K, C)`` or ``(1, K, C)`` nearest to each pixel of ``(N, C, H, W)``, like it."""
    palette = palette.expand(len(x), -1, -1)
    pixels = x.flatten(2).mT
    chosen = torch.cdist(pixels, palette, compute_mode="donot_use_mm_for_euclid_dist").argmin(2, keepdim=True)
    return palette.gather(1, chosen.expand(-1, -1, x.shape[1])).mT.reshape(x.shape)

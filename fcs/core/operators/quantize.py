"""Few colours; its inversion removes bands and noise of a palette."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fcs.core.arguments import zero_to_one
from fcs.core.images import to_float, to_uint8
from fcs.core.operators.cells import Cell, Cells

MEANS = 0.1  # the best of 0, .05, .1, .2 and 1 on faces drawn for that (docs/tasks.md)
SWEEPS = 30  # over the half-spaces; in the worst corner of a cell they leave a grey level, mostly nothing


class Voronoi(Cell):
    """Pictures whose pixels are nearest to the given colours of a palette.

    Args:
        own: each pixel's colour ``(N, C, H, W)`` in [-1, 1], one of the palette's.
        palette: ``(N, K, C)`` or ``(1, K, C)``; a colour may stand there more than once.
        means: what part of the way to its colour the mean of a colour's pixels is wanted to go, 0 to 1.
    """

    passes = 3  # cells of colours reach little beyond the range

    def __init__(self, own: Tensor, palette: Tensor, means: float = 0.0) -> None:
        self.own = own
        self.palette = palette
        self.means = means

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

    def wanted(self, x: Tensor) -> Tensor:
        """The nearest picture of the cell, after each colour's pixels were moved alike, towards the right mean."""
        return self.nearest(x - self.means * self._off(x) if self.means else x)

    def _off(self, x: Tensor) -> Tensor:
        """At each pixel of ``x``, what the mean of all pixels of its colour has too much, like ``x``."""
        chosen = self._chosen.to(x)
        sums = (x - self.own).flatten(2) @ chosen
        means = sums / chosen.sum(1, keepdim=True).clamp(min=1)
        return (means @ chosen.mT).view_as(x)

    @cached_property
    def _chosen(self) -> Tensor:
        """Which of the palette's colours each pixel has, ``(N, H W, K)`` of zeros and ones."""
        palette = self.palette.expand(len(self.own), -1, -1)
        return F.one_hot(nearest_numbers(self.own, palette), palette.shape[1]).to(self.own)

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
        means: of pictures' own palettes one more thing is known. Median cut and k-means take for a colour the mean of
            what it stands for, nearly. At each projection the mean of a colour's pixels goes this part of the way to
            the colour, 0 to 1; all of it at once is too much while x_0 is vague.

    Raises:
        ValueError: a number outside that.
    """

    def __init__(
        self, colours: int = 8, palette: Literal["picture", "uniform"] = "picture", means: float = MEANS
    ) -> None:
        if not 2 <= colours <= 256:
            raise ValueError(f"colours={colours}: expected 2 to 256")
        zero_to_one(means=means)
        self.colours = colours
        self.palette = palette
        self.means = means

    def fits(self, shape: tuple[int, int, int]) -> str | None:
        if self.palette == "picture" or shape[0] == 1 or round(self.colours ** (1 / 3)) ** 3 == self.colours:
            return None
        return f"task.operator.colours of a third power (8, 27, 64, 125, 216) for a uniform palette, not {self.colours}"

    def A(self, x: Tensor) -> Tensor:
        if self.palette == "uniform":
            return nearest_colours(x, self._uniform(x))
        return torch.cat([nearest_colours(one, median_cut(one, self.colours)) for one in x[:, None]])

    def cell(self, y: Tensor) -> Voronoi:
        if self.palette == "uniform":
            palette = self._uniform(y)
            return Voronoi(nearest_colours(y, palette), palette)
        palette = self._found(y)
        return Voronoi(nearest_colours(y, palette), palette, self.means)

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
    chosen = nearest_numbers(x, palette)[:, :, None]
    return palette.gather(1, chosen.expand(-1, -1, x.shape[1])).mT.reshape(x.shape)


def nearest_numbers(x: Tensor, palette: Tensor) -> Tensor:
    """Which colour of a palette ``(N, K, C)`` is nearest to each pixel of ``(N, C, H, W)``, ``(N, H W)``."""
    return torch.cdist(x.flatten(2).mT, palette, compute_mode="donot_use_mm_for_euclid_dist").argmin(2)

"""JPEG compression; its inversion removes blocks and ringing."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcs.core.operators.cells import Cells, IntervalCell, from_grey_levels, grey_levels
from fcs.core.operators.jpeg_tables import CHROMINANCE, LUMINANCE, SIDE, TO_YCC, cosines, steps, unsmoothing
from fcs.core.operators.on_device import OnDevice

PASSES = 10  # between the file's lattice and what clipping to 0 to 255 hides; the coefficients settle within five


class Jpeg(Cells):
    """JPEG as libjpeg and Pillow make it by default: baseline, 8x8 blocks, Annex K's tables scaled by quality.

    A measurement is the picture that a decoder shows. Its quantized coefficients are found from it again: those of the
    picture, where a decoder's triangle filter of the chroma is undone and pixels at 0 and 255 count as "or beyond". A
    cell is all pictures whose coefficients round to these. The nearest is the one in luma and chroma, by closed form.

    Between pixels and coefficients nothing is rounded. libjpeg rounds luma and chroma to whole numbers first and takes
    its cosines in integers, so that a coefficient within about .3 of a border may be rounded to the other side.

    Args:
        quality: libjpeg's, 1 to 100. Above 90 steps are so fine that rounding the shown picture to 8 bits hides them.
        chroma: planes of half the size (``4:2:0``, the usual way) or of the full one (``4:4:4``).

    Raises:
        ValueError: a quality outside 1 to 100.
    """

    def __init__(self, quality: int = 10, chroma: Literal["4:2:0", "4:4:4"] = "4:2:0") -> None:
        if not 1 <= quality <= 100:
            raise ValueError(f"quality={quality}: expected 1 to 100")
        self.quality = quality
        self.chroma = chroma
        self._halved = chroma == "4:2:0"
        self._basis = OnDevice(cosines())
        self._ycc, self._rgb = OnDevice(TO_YCC), OnDevice(torch.linalg.inv(TO_YCC))
        self._steps = [OnDevice(steps(table, quality)) for table in (LUMINANCE, CHROMINANCE)]
        self._sharp: dict[int, OnDevice] = {}

    def fits(self, shape: tuple[int, int, int]) -> str | None:
        block = 2 * SIDE if self._halved and shape[0] == 3 else SIDE
        size = f"{shape[2]}x{shape[1]}"
        return f"a model of multiples of {block} pixels, not {size}" if shape[1] % block or shape[2] % block else None

    def A(self, x: Tensor) -> Tensor:
        """The picture that a decoder shows, pixels not rounded."""
        counts = self._counted(self._coefficients(grey_levels(x)))
        return from_grey_levels(self._shown(counts).clamp(0, 255))

    def cell(self, y: Tensor) -> IntervalCell:
        counts = self.counts(y)
        quanta = self._quanta(counts)
        low, high = (
            torch.cat([((n + side) * q).flatten(1) for n, q in zip(counts, quanta, strict=True)], 1) / 127.5
            for side in (-0.5, 0.5)
        )

        def coordinates(x: Tensor) -> Tensor:
            return torch.cat([c.flatten(1) for c in self._coefficients(grey_levels(x))], 1) / 127.5

        def displacement(change: Tensor) -> Tensor:
            return self._displacement(change, y)

        return IntervalCell(low, high, coordinates, displacement)

    def counts(self, y: Tensor) -> list[Tensor]:
        """The file's quantized coefficients, from pictures ``(N, C, H, W)`` in [-1, 1] that a decoder shows.

        Returns:
            ``(N, 1, H, W)`` of luma, each block's with the vertical frequency first; of chroma ``(N, 2, h, w)``.
        """
        given = grey_levels(y)
        dark, bright = given <= 0.5, given >= 254.5
        found = self._counted(self._coefficients(given, sharpen=self._halved))
        for _ in range(PASSES):
            shown = self._shown(found)
            beyond = torch.where(bright, shown.clamp(min=255), torch.where(dark, shown.clamp(max=0), given))
            found = self._counted(self._coefficients(beyond, sharpen=self._halved))
        return found

    def _quanta(self, planes: list[Tensor]) -> list[Tensor]:
        """The steps of the planes' coefficients, laid out like them."""
        return [
            one.like(plane).repeat(plane.shape[2] // SIDE, plane.shape[3] // SIDE)
            for one, plane in zip(self._steps, planes, strict=False)  # grey pictures have no chroma
        ]

    def _counted(self, coefficients: list[Tensor]) -> list[Tensor]:
        return [(c / q).round() for c, q in zip(coefficients, self._quanta(coefficients), strict=True)]

    def _coefficients(self, levels: Tensor, sharpen: bool = False) -> list[Tensor]:
        """Cosine coefficients of luma and of chroma, of pictures in grey levels."""
        if levels.shape[1] == 1:
            return [self._blocks(levels - 128)]
        planes = _recoloured(levels, self._ycc.like(levels))
        chroma = F.avg_pool2d(planes[:, 1:], 2) if self._halved else planes[:, 1:]
        return [self._blocks(planes[:, :1] - 128), self._blocks(self._sharpened(chroma) if sharpen else chroma)]

    def _shown(self, counts: list[Tensor]) -> Tensor:
        """Grey levels of the picture ``(N, C, H, W)`` that a decoder shows, before it clips and rounds them."""
        luma, *chroma = [self._blocks(n * q, back=True) for n, q in zip(counts, self._quanta(counts), strict=True)]
        if not chroma:
            return luma + 128
        planes = torch.cat([luma + 128, _enlarged(chroma[0]) if self._halved else chroma[0]], 1)
        return _recoloured(planes, self._rgb.like(planes))

    def _displacement(self, change: Tensor, y: Tensor) -> Tensor:
        """The least change of luma and chroma that changes coefficients by ``change`` ``(N, M)``, as pixels."""
        area = y.shape[2] * y.shape[3]
        luma = self._blocks(change[:, :area].reshape(-1, 1, *y.shape[2:]), back=True)
        if y.shape[1] == 1:
            return luma
        scale = 2 if self._halved else 1
        small = change[:, area:].reshape(-1, 2, y.shape[2] // scale, y.shape[3] // scale)
        chroma = self._blocks(small, back=True).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        return _recoloured(torch.cat([luma, chroma], 1), self._rgb.like(y))

    def _blocks(self, planes: Tensor, back: bool = False) -> Tensor:
        """The cosine transform of each block of ``(N, K, H, W)`` in its place, or the inverse."""
        n, k, height, width = planes.shape
        basis = self._basis.like(planes)
        basis = basis.mT if back else basis
        blocks = planes.reshape(n, k, height // SIDE, SIDE, width // SIDE, SIDE).transpose(3, 4)
        return (basis @ blocks @ basis.mT).transpose(3, 4).reshape(n, k, height, width)

    def _sharpened(self, chroma: Tensor) -> Tensor:
        for size in chroma.shape[2:]:
            if size not in self._sharp:
                self._sharp[size] = OnDevice(unsmoothing(size))
        rows, columns = (self._sharp[size].like(chroma) for size in chroma.shape[2:])
        return rows @ chroma @ columns.mT


def _recoloured(planes: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix, planes)


def _enlarged(chroma: Tensor) -> Tensor:
    """Planes of twice the size by the triangle filter of libjpeg ("fancy upsampling"): weights 3/4 and 1/4."""
    return _doubled(_doubled(chroma, 2), 3)


def _doubled(planes: Tensor, side: int) -> Tensor:
    last = planes.shape[side] - 1
    before = torch.cat([planes.narrow(side, 0, 1), planes.narrow(side, 0, last)], side)
    after = torch.cat([planes.narrow(side, 1, last), planes.narrow(side, last, 1)], side)
    pairs = torch.stack([(3 * planes + before) / 4, (3 * planes + after) / 4], side + 1)
    return pairs.flatten(side, side + 1)

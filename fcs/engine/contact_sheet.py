"""Contact sheets: a look at inputs and results while a run goes on."""

from __future__ import annotations

import io

from PIL import Image
from torch import Tensor

from fcs.core.records import Batch, Result

ROWS = 8
LEAST_SIDE, MOST_SIDE = 96, 256  # pixels: smaller pictures are enlarged so that a person can see them, larger reduced
GAP = 4


def sheet(batch: Batch, result: Result, given: Tensor, reference: Tensor | None) -> bytes | None:
    """PNG of up to eight records, one a row: what is given, the result and what else it has, the reference.

    None where there is no result to show.
    """
    slots = [slot for slot, valid in enumerate(batch.valid) if valid][:ROWS]
    if not slots:
        return None
    columns = [given, result.images, *result.further.values()]
    columns += [] if reference is None else [reference]
    largest = max(max(column.shape[-2:]) for column in columns)
    side = min(largest * -(-LEAST_SIDE // largest), MOST_SIDE)
    canvas = Image.new("RGB", (len(columns) * (side + GAP) + GAP, len(slots) * (side + GAP) + GAP), "#808890")
    for row, slot in enumerate(slots):
        for number, column in enumerate(columns):
            place = (GAP + number * (side + GAP), GAP + row * (side + GAP))
            canvas.paste(_shown(column[slot], side), place)
    buffer = io.BytesIO()
    canvas.save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def _shown(picture: Tensor, side: int) -> Image.Image:
    """A uint8 picture ``(C, H, W)`` whose longer side has as many pixels as asked for."""
    image = Image.fromarray(picture.permute(1, 2, 0).expand(-1, -1, 3).numpy())
    longer = max(image.size)
    size = tuple(max(1, round(one * side / longer)) for one in image.size)
    return image.resize(size, Image.Resampling.NEAREST if longer <= side else Image.Resampling.BOX)

"""Contact sheets: a look at inputs and results while a run goes on."""

from __future__ import annotations

import io

from PIL import Image
from torch import Tensor

from fcs.core.records import Batch, Result

ROWS = 8
LEAST_SIDE = 96  # smaller pictures are enlarged so that a person can see them
GAP = 4


def sheet(batch: Batch, result: Result, given: Tensor, reference: Tensor | None) -> bytes | None:
    """PNG of up to eight records, one a row: what is given, the result and what else it has, the reference.

    None where there is no result to show.
    """
    slots = [slot for slot, valid in enumerate(batch.valid) if valid][:ROWS]
    if not slots:
        return None
    columns = [given.cpu(), result.images, *result.further.values()]
    columns += [] if reference is None else [reference.cpu()]
    side = max(max(column.shape[-2:]) for column in columns)
    side *= -(-LEAST_SIDE // side)
    canvas = Image.new("RGB", (len(columns) * (side + GAP) + GAP, len(slots) * (side + GAP) + GAP), "#808890")
    for row, slot in enumerate(slots):
        for number, column in enumerate(columns):
            picture = Image.fromarray(column[slot].permute(1, 2, 0).expand(-1, -1, 3).numpy())
            picture = picture.resize((side, side), Image.Resampling.NEAREST)
            canvas.paste(picture, (GAP + number * (side + GAP), GAP + row * (side + GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "png")
    return buffer.getvalue()

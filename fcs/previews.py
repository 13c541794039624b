"""Contact sheets: a look at inputs and results while a run goes on."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor

from fcs.records import Batch, Result

ROWS = 8
LEAST_SIDE = 96  # smaller pictures are enlarged so that a person can see them
GAP = 4


def sheet(batch: Batch, result: Result, reference: Tensor | None, hidden: bool) -> bytes | None:
    """PNG of up to eight records, one a row: what is given, the result, the reference where there is one.

    ``hidden``: the task does not see what is under a mask, so that is grey. None where there is no result to show.
    """
    slots = [slot for slot, valid in enumerate(batch.valid) if valid][:ROWS]
    if not slots:
        return None
    given = _given(batch) if hidden else batch.images.cpu()
    columns = [given, result.images] + ([] if reference is None else [reference.cpu()])
    side = max(max(column.shape[-2:]) for column in columns)
    side *= -(-LEAST_SIDE // side)
    canvas = Image.new("RGB", (len(columns) * (side + GAP) + GAP, len(slots) * (side + GAP) + GAP), "#808890")
    for row, slot in enumerate(slots):
        for place, column in enumerate(columns):
            picture = Image.fromarray(column[slot].permute(1, 2, 0).expand(-1, -1, 3).numpy())
            picture = picture.resize((side, side), Image.Resampling.NEAREST)
            canvas.paste(picture, (GAP + place * (side + GAP), GAP + row * (side + GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "png")
    return buffer.getvalue()


def _given(batch: Batch) -> Tensor:
    """The inputs as the task sees them, ``(N, C, H, W)`` uint8: what is to be generated shows as mid grey."""
    hidden = (batch.masks > 0).cpu().expand_as(batch.images)
    return torch.where(hidden, torch.tensor(128, dtype=torch.uint8), batch.images.cpu())

"""A record's picture and mask at the sizes that a model takes; shards and calls from Python share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from fcs.core.crops import cut
from fcs.core.native_picture import NativePicture
from fcs.core.notes import NOTHING
from fcs.core.records import Record
from fcs.shards.input.decode_image import BadRecordError, size_text, to_tensor
from fcs.shards.input.fit import fit, nearest

if TYPE_CHECKING:
    from fcs.shards.input.decode import Format


def with_pictures(
    record: Record, image: Image.Image, mask: Image.Image | None, read: Callable[[], Image.Image], form: Format
) -> Record:
    """A record with its pictures.

    Args:
        record: what else is known of it.
        image: in the mode that is wanted.
        mask: greys of the same size, 255 = generate.
        read: decodes the picture again, where it is completed at its own size.
        form: what is wanted.

    Raises:
        BadRecordError: a picture of another size than must be, or too large; a missing mask.
    """
    record = replace(record, size=(image.height, image.width))
    return _native(record, image, mask, read, form) if form.native else _fitted(record, image, mask, form)


def _fitted(record: Record, image: Image.Image, mask: Image.Image | None, form: Format) -> Record:
    """A record with picture and mask at the model's size."""
    (height, width), resize = (form.height, form.width), form.resize
    if form.resize == "bucket":
        (height, width), resize = nearest(form.buckets, image), "crop"
    way = fit(image.size, width, height, resize)
    made = to_tensor(way(image, Image.Resampling.LANCZOS))
    record = replace(record, image=made, part=way.part, area=way.area)
    if mask is None:
        return record
    return _masked(record, form.edits.spread(to_tensor(way(mask, Image.Resampling.NEAREST))))


def _masked(record: Record, mask: Tensor) -> Record:
    return replace(record, mask=mask, notes=record.notes if mask.any() else (*record.notes, NOTHING))


def _native(
    record: Record, image: Image.Image, mask: Image.Image | None, read: Callable[[], Image.Image], form: Format
) -> Record:
    """A record that is completed at its own size."""
    if mask is None:
        raise BadRecordError("missing_mask", "data.resize=crop_to_mask needs one")
    if form.longest is not None and max(image.size) > form.longest:
        expected = f"results in this format have at most {form.longest} pixels a side; format=png holds more"
        raise BadRecordError("too_large", f"{size_text(image)}, {expected}")
    crops = cut(image, np.asarray(mask), (form.height, form.width), form.margin, form.edits)
    notes = record.notes if crops else (*record.notes, NOTHING)
    return replace(record, notes=notes, native=NativePicture(image.height, image.width, crops, read))

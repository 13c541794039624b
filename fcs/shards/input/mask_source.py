"""Where a record's mask comes from: its own member, one file for all records, or the picture's transparency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from fcs.core.errors import UsageError
from fcs.core.masks import read_mask
from fcs.core.pictures import PictureError, open_picture
from fcs.shards.input.decode_image import BadRecordError, Read, decode_mask, decode_transparency, size_text

MaskSource: TypeAlias = Read | Literal["alpha"] | None
ALPHA: Literal["alpha"] = "alpha"


def mask_source(asked: str | None) -> MaskSource:
    """What ``data.mask`` says: the mask in a file with notes on it, ``alpha``, or None for each record's own.

    Raises:
        UsageError: a file that is not there, or that is no mask.
    """
    if asked is None or asked == ALPHA:
        return ALPHA if asked else None
    path = Path(asked)
    if not path.is_file():
        raise UsageError.of("data.mask", asked, "a picture file, alpha, or null for each record's own")
    try:
        return read_mask(open_picture(path.read_bytes()))
    except PictureError as error:
        raise UsageError.of("data.mask", asked, f"a mask ({error.code}: {error.detail})") from error


def mask_of(source: MaskSource, slots: Mapping[str, bytes], size: tuple[int, int]) -> Read | None:
    """A record's mask as 8-bit greys of the picture's size, with notes; None where it has none.

    Args:
        source: where it comes from.
        slots: the record's members.
        size: (width, height) of its picture.

    Raises:
        BadRecordError: it cannot be read, or has another size.
    """
    if source == ALPHA:
        return decode_transparency(slots["image"]), ()
    if source is None and "mask" not in slots:
        return None
    mask, notes = decode_mask(slots["mask"]) if source is None else source
    if mask.size != size:
        turned = "; EXIF turns it?" if mask.size == size[::-1] else ""
        which = "" if source is None else "data.mask is "
        raise BadRecordError("mask_size", f"{which}{size_text(mask)}, the image has {size[0]}x{size[1]}{turned}")
    return mask, notes

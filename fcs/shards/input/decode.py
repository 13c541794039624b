"""Bytes of a record to a Record. Whatever is wrong with them becomes its ``error``, never an exception.

Only PIL decodes, only PNG, JPEG and WebP, and only after their size was looked at.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from fcs.core.records import Record
from fcs.shards.input.members import printable
from fcs.shards.input.record_index import SLOTS, Entry

Resize = Literal["none", "crop", "pad"]
MAX_PIXELS = 64 << 20
MAX_IMAGE_BYTES = 256 << 20
MAX_PROMPT_BYTES = 64 << 10
MAX_JSON_BYTES = 1 << 20  # as objects it takes some twenty times that
MAX_JSON_DEPTH = 100  # the interpreter's own limit depends on who calls
_FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Format:
    """What a model and a task want of a record.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        height, width: of the decoded picture in pixels (for superresolution: of the measurement).
        resize: ``none`` refuses another size, ``crop`` brings the short side to size and cuts the centre,
            ``pad`` brings the long side to size and adds black, which in a mask means keep.
        needs_mask: a record without mask fails with ``missing_mask``.
        keep_members: hand the raw input members through.
        captions: whether the record's own prompt is read.
    """

    channels: int
    height: int
    width: int
    resize: Resize = "none"
    needs_mask: bool = False
    keep_members: bool = False
    captions: bool = True

    @property
    def required(self) -> tuple[str, ...]:
        """Slots without which a record is not whole."""
        return ("image", "mask") if self.needs_mask else ("image",)


class _BadRecordError(Exception):
    def __init__(self, code: str, detail: object) -> None:
        super().__init__(code)
        line = " ".join(str(detail).split()) or type(detail).__name__
        self.code, self.detail = code, printable(line)[:200]


def decode(entry: Entry, read: Callable[[int, int], bytes], form: Format) -> Record:
    """The record of an index entry.

    Args:
        entry: what the index says of it.
        form: what is wanted.
        read: gives the bytes at (offset, size) of the shard; its OSErrors pass through.
    """
    record = Record(entry.index, entry.key, error=entry.error)
    if entry.error:
        return record
    try:
        data = {suffix: _load(suffix, place, read) for suffix, place in entry.members.items()}
        slots = {SLOTS[suffix]: value for suffix, value in data.items()}
        return _decode(record, slots, data if form.keep_members else {}, form)
    except _BadRecordError as bad:
        return record.failed(bad.code, bad.detail)


def _load(suffix: str, place: tuple[int, int], read: Callable[[int, int], bytes]) -> bytes:
    limit = {"prompt": MAX_PROMPT_BYTES, "json": MAX_JSON_BYTES}.get(SLOTS[suffix], MAX_IMAGE_BYTES)
    if place[1] > limit:
        raise _BadRecordError("too_large", f"{suffix} has {place[1]} bytes, allowed are {limit}")
    return read(*place)


def _decode(record: Record, slots: dict[str, bytes], members: dict[str, bytes], form: Format) -> Record:
    if "image" not in slots:
        raise _BadRecordError("missing_image", "no png, jpg, jpeg or webp")
    if form.needs_mask and "mask" not in slots:
        raise _BadRecordError("missing_mask", "no mask.png")
    extra = _json(slots["json"]) if "json" in slots else {}
    seed = _seed(extra)
    prompt = _text(slots["prompt"]) if form.captions and "prompt" in slots else None
    image = _picture(slots["image"], "RGB" if form.channels == 3 else "L")
    mask = _picture(slots["mask"], "L", "mask ") if "mask" in slots else None
    if mask is not None and mask.size != image.size:
        raise _BadRecordError("mask_size", f"{_size(mask)}, the image has {_size(image)}")
    return Record(
        record.index,
        record.key,
        image=_tensor(_fit(image, form, Image.Resampling.LANCZOS)),
        mask=None if mask is None else _tensor(_fit(mask, form, Image.Resampling.NEAREST)),
        prompt=prompt,
        extra=extra,
        seed=seed,
        members=members,
    )


def _picture(data: bytes, mode: Literal["L", "RGB"], what: str = "") -> Image.Image:
    """An upright 8 bit picture in ``mode``; transparency of an image on white."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise _BadRecordError("too_large", f"{what}{_size(image)}, allowed are {MAX_PIXELS} pixels")
        image.load()
        return eight_bit(image, mode, flat=not what)
    except UnidentifiedImageError as error:
        raise _BadRecordError("bad_image", f"{what}no {', '.join(_FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _BadRecordError("too_large", f"{what}more than {MAX_PIXELS} pixels") from error
    except _BadRecordError:
        raise
    except MemoryError as error:
        raise _BadRecordError("out_of_memory", f"{what}{len(data)} bytes of picture") from error
    except Exception as error:  # PIL's plugins raise whatever their parsers stumble over
        raise _BadRecordError("bad_image", f"{what}{error or type(error).__name__}") from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata says nothing about orientation
        turn = None
    return image if turn is None else image.transpose(turn)


def eight_bit(image: Image.Image, mode: Literal["L", "RGB"], flat: bool) -> Image.Image:
    """A picture as a record's is read: upright by its EXIF orientation, 16 bit scaled to 8.

    Args:
        image: any of Pillow's.
        mode: wanted.
        flat: put transparency on white; otherwise it is dropped, as a mask's is.
    """
    image = _upright(image)
    if image.mode.startswith("I"):  # 16 bit grey; PIL would clip
        deep = np.asarray(image).clip(0, 65535).astype(np.uint32)
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if flat and ("transparency" in image.info or "A" in image.mode or "a" in image.mode):
        colours = image.convert("RGBA")
        image = Image.new("RGBA", colours.size, "white")
        image.alpha_composite(colours)
    return image.convert("RGB").convert(mode) if image.mode in ("P", "PA", "RGBA") else image.convert(mode)


def _fit(image: Image.Image, form: Format, filter: Image.Resampling) -> Image.Image:
    width, height = form.width, form.height
    if image.size == (width, height):
        return image
    if form.resize == "none":
        raise _BadRecordError("image_size", f"{_size(image)}, expected {width}x{height}; see data.resize")
    if form.resize == "crop":
        # The centre of the target's shape is cut out first, so that no long strip is ever enlarged.
        scale = min(image.width / width, image.height / height)
        w, h = width * scale, height * scale
        left, top = (image.width - w) / 2, (image.height - h) / 2
        box = (left, top, min(left + w, image.width), min(top + h, image.height))
        return image.resize((width, height), filter, box=box)
    scale = min(width / image.width, height / image.height)
    w, h = (min(max(1, round(side * scale)), most) for side, most in zip(image.size, (width, height), strict=True))
    padded = Image.new(image.mode, (width, height))
    padded.paste(image.resize((w, h), filter), ((width - w) // 2, (height - h) // 2))
    return padded


def _tensor(image: Image.Image) -> torch.Tensor:
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise _BadRecordError("bad_text", error) from error


def _json(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError as error:
        raise _BadRecordError("bad_json", f"nested more than {MAX_JSON_DEPTH} deep") from error
    except ValueError as error:
        raise _BadRecordError("bad_json", error) from error
    if not isinstance(value, dict):
        raise _BadRecordError("bad_json", f"{type(value).__name__}, expected an object")
    if _deeper(value, MAX_JSON_DEPTH):  # else it could be read but not written
        raise _BadRecordError("bad_json", f"nested more than {MAX_JSON_DEPTH} deep")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):  # which of them was meant is anyone's guess
        raise ValueError("a key stands twice in one object")
    return value


def _deeper(value: Any, levels: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(item, levels - 1) for item in items)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # could not be written again
        raise ValueError(f"{text} is no JSON number")
    return value


def _seed(extra: dict[str, Any]) -> int | None:
    seed = extra.get("seed")
    if seed is None:
        return None
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise _BadRecordError("bad_seed", f"{seed!r}, expected an integer from 0 to 2^63 - 1")
    return seed


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"

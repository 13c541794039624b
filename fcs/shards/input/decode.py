"""Decodes the members of a record. Whatever is wrong with them becomes the record's ``error``, never an exception."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from PIL import Image, ImageOps

from fcs.core.mask_edits import MaskEdits
from fcs.core.notes import CAPTION
from fcs.core.pictures import Mode
from fcs.core.records import Record
from fcs.core.seeds import whole_seed
from fcs.core.unique_names import unique_object
from fcs.shards.input.decode_image import BadRecordError, decode_image
from fcs.shards.input.decode_measurement import decode_measurement
from fcs.shards.input.fit import Resize
from fcs.shards.input.mask_source import MaskSource, mask_of
from fcs.shards.input.record_index import MEASURED, SLOTS, Entry, Keys
from fcs.shards.input.record_pictures import with_pictures

NO_EDITS = MaskEdits()
TOLD = ("caption", "prompt", "text")  # where other tools keep a caption in KEY.json
MAX_IMAGE_BYTES = 256 << 20
MAX_PROMPT_BYTES = 64 << 10
MAX_JSON_BYTES = 1 << 20  # as objects it takes some twenty times that
MISSING = {"image": "no png, jpg, jpeg or webp", "measurement": "no npy"}
MAX_JSON_DEPTH = 100  # the interpreter's own limit depends on who calls


@dataclass(frozen=True)
class Format:
    """What a model and a task want of a record.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        height, width: of the decoded picture in pixels (for superresolution: of the measurement).
        resize: ``none`` refuses another size, ``crop`` brings the short side to size and cuts the centre,
            ``pad`` brings the long side to size and mirrors picture and mask at their edges, ``bucket`` is ``crop`` to
            that of ``buckets`` whose shape is nearest, ``crop_to_mask`` cuts out what the mask asks for.
        needs_mask: a record without mask fails with ``missing_mask``.
        keep_members: keep the bytes of the input members.
        captions: whether the record's own prompt is read.
        reads_mask: whether a record's mask is looked at at all.
        measurement: shape of the measurement in ``KEY.npy`` that a record must have; its picture counts for nothing
            then. None where records hold pictures.
        keys: where the key of a member's name ends: at its ``first_dot``, or before its ``last_suffix``.
        mask: one mask for all records, or ``alpha`` for their pictures' transparency; None for each record's own.
        edits: what is done to masks.
        buckets: sizes (height, width), for ``bucket``.
        margin: share of a crop's sides beside the hole, for ``crop_to_mask``.
        longest: pixels a side that the format of the results holds, for ``crop_to_mask``; None without such a limit.
        wants_prompt: a record without ``KEY.txt`` has an empty prompt, and that makes a difference.
    """

    channels: int
    height: int
    width: int
    resize: Resize = "none"
    needs_mask: bool = False
    keep_members: bool = False
    captions: bool = True
    reads_mask: bool = True
    measurement: tuple[int, ...] | None = None
    keys: Keys = "first_dot"
    mask: MaskSource = None
    edits: MaskEdits = NO_EDITS
    buckets: tuple[tuple[int, int], ...] = ()
    margin: float = 0.0
    longest: int | None = None
    wants_prompt: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """Slots without which a record is not whole."""
        return (self.given, "mask") if self.needs_mask and self.mask is None else (self.given,)

    @property
    def native(self) -> bool:
        """Whether pictures are completed at their own size."""
        return self.resize == "crop_to_mask"

    @property
    def given(self) -> str:
        """The slot of what a record is about."""
        return "image" if self.measurement is None else "measurement"

    @property
    def slots(self) -> Mapping[str, str]:
        """What a member of which suffix is."""
        return SLOTS if self.measurement is None else MEASURED


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
        looks = form.reads_mask and form.mask is None
        passed = () if looks or form.keep_members else ("mask",)
        wanted = {suffix: place for suffix, place in entry.members.items() if form.slots[suffix] not in passed}
        data = {suffix: _load(suffix, place, read) for suffix, place in wanted.items()}
        slots = {form.slots[suffix]: value for suffix, value in data.items()}
        return _decode(record, slots, data if form.keep_members else {}, form)
    except BadRecordError as bad:
        return record.failed(bad.code, bad.detail)


def _load(suffix: str, place: tuple[int, int], read: Callable[[int, int], bytes]) -> bytes:
    limit = {"prompt": MAX_PROMPT_BYTES, "json": MAX_JSON_BYTES}.get(MEASURED[suffix], MAX_IMAGE_BYTES)
    if place[1] > limit:
        raise BadRecordError("too_large", f"{suffix} has {place[1]} bytes, allowed are {limit}")
    return read(*place)


def _decode(record: Record, slots: dict[str, bytes], members: dict[str, bytes], form: Format) -> Record:
    if form.given not in slots:
        raise BadRecordError(f"missing_{form.given}", MISSING[form.given])
    if "mask" in form.required and "mask" not in slots:
        raise BadRecordError("missing_mask", "no mask.png")
    extra = _json(slots["json"]) if "json" in slots else {}
    seed = _seed(extra)
    prompt = _text(slots["prompt"]) if form.captions and "prompt" in slots else None
    unread = form.wants_prompt and "prompt" not in slots and any(_is_said(extra.get(name)) for name in TOLD)
    told = (CAPTION,) if unread else ()
    common = replace(record, prompt=prompt, extra=extra, seed=seed, members=members, notes=told)
    if form.measurement is not None:
        measurement = decode_measurement(slots["measurement"], form.measurement)
        blank = torch.zeros(form.channels, form.height, form.width, dtype=torch.uint8)
        return replace(common, image=blank, measurement=measurement)
    mode: Mode = "RGB" if form.channels == 3 else "L"
    image, notes = decode_image(slots["image"], mode)
    mask, more = _mask(slots, image.size, form) if form.reads_mask else (None, ())
    common = replace(common, notes=notes + more + told)
    return with_pictures(common, image, mask, partial(_again, slots["image"], mode), form)


def _again(data: bytes, mode: Mode) -> Image.Image:
    return decode_image(data, mode)[0]


def _mask(slots: dict[str, bytes], size: tuple[int, int], form: Format) -> tuple[Image.Image | None, tuple[str, ...]]:
    """The mask for an image of ``size`` (width, height), and notes; None without one."""
    found = mask_of(form.mask, slots, size)
    if found is None:
        return None, ()
    mask, notes = found
    return ImageOps.invert(mask) if form.edits.invert else mask, notes


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadRecordError("bad_text", error) from error


def _is_said(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _json(data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=unique_object)
    except RecursionError as error:
        raise BadRecordError("bad_json", f"nested more than {MAX_JSON_DEPTH} deep") from error
    except ValueError as error:
        raise BadRecordError("bad_json", error) from error
    if not isinstance(value, dict):
        raise BadRecordError("bad_json", f"{type(value).__name__}, expected an object")
    if _deeper(value, MAX_JSON_DEPTH):  # else it could be read but not written
        raise BadRecordError("bad_json", f"nested more than {MAX_JSON_DEPTH} deep")
    return value


def _deeper(value: Any, levels: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_deeper(item, levels - 1) for item in items)


def _finite(text: str) -> float | None:
    """A number; null for NaN and infinity, which Python's json writes and JSON does not have."""
    value = float(text)
    return value if math.isfinite(value) else None


def _seed(extra: dict[str, Any]) -> int | None:
    seed = extra.get("seed")
    try:
        return None if seed is None else whole_seed(seed)
    except ValueError as error:
        raise BadRecordError("bad_seed", error) from error

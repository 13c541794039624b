"""Reading a mask: the one way for shards, ``fcs-pack`` and calls from Python. White = generate, black = keep.

A mask is luminance, and luminance times alpha where the alpha channel varies. Where all that is visible has one colour,
the luminance says nothing and alpha alone decides. Masks that are plainly labels and not greys are taken as what they
look like, with a note: 0 and 1, two palette entries, black and one colour. Of greys, values next to black and white
become black and white, and a JPEG file that was made of black and white becomes that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcs.core.jpeg_masks import before_compression
from fcs.core.notes import ALPHA, CLASSES, FAINT, GREY, SCALE, TWO_VALUES
from fcs.core.pictures import PictureError, alpha_of, deep_values, has_alpha, naming, upright
from fcs.core.pixel_values import Pixels, to_bytes

NEAR = 8  # grey values: channels that differ by no more are grey, and no brighter is black
OPAQUE = 250  # an alpha channel that is nowhere lower says nothing
# What JPEG and smoothing leave of black and white. A hole that is not quite white would be known a little, and the
# encoder would see what is in it.
CLEAN = [0 if value <= NEAR else 255 if value >= 255 - NEAR else value for value in range(256)]
FAINTEST = 32  # a mask that nowhere reaches this generates next to nothing


def read_mask(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """A mask as 8-bit greys.

    Args:
        image: any of Pillow's; turned upright by its EXIF orientation. A colour profile counts for nothing.

    Returns:
        The mask, and notes on how it was read (``fcs.core.notes``).

    Raises:
        PictureError: damaged, or colours that are no mask.
    """
    with naming():
        image.load()
        image = upright(before_compression(image) or image)
        alpha = np.asarray(alpha_of(image)) if has_alpha(image) else None
        values = deep_values(image)
        if values is not None:
            return mask_from(values, alpha)
        if image.mode in ("1", "L", "LA"):
            return mask_from(np.asarray(image if image.mode == "L" else image.convert("L")), alpha)
        labels = np.asarray(image) if image.mode == "P" else None
        return mask_from(np.asarray(image.convert("RGB")), alpha, labels)


def mask_from(
    colours: NDArray[Any], alpha: NDArray[Any] | None = None, labels: NDArray[Any] | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """A mask from numbers; returns and raises as ``read_mask``.

    Args:
        colours: ``(H, W)`` or ``(H, W, 3)``; uint8, uint16, booleans, or numbers as in ``to_bytes``. The mask may share
            its memory.
        alpha: ``(H, W)``, opaque = the largest value.
        labels: ``(H, W)``, the palette's entries.
    """
    notes: list[str] = []
    pixels = _scaled(colours, notes)
    opacity = None if alpha is None else _telling(_scaled(alpha, notes))
    if opacity is not None and _is_one_colour(pixels[opacity > 0]):
        greys = np.full_like(opacity, 255)
    else:
        greys = _greys(pixels, opacity, labels, notes)
    if opacity is not None:
        notes.append(ALPHA)
        greys = ((greys.astype(np.uint16) * opacity + 127) // 255).astype(np.uint8)
    mask = Image.fromarray(greys)
    counts = mask.histogram()
    doubts = _doubts(counts)
    return mask if FAINT in doubts else _cleaned(mask, counts), tuple(dict.fromkeys([*notes, *doubts]))


def clean(mask: Image.Image) -> Image.Image:
    """8-bit greys with black and white where values are next to them; the same object where none are."""
    return _cleaned(mask, mask.histogram())


def _cleaned(mask: Image.Image, counts: Sequence[int]) -> Image.Image:
    """The same, with the mask's histogram."""
    near = any(counts[1 : NEAR + 1]) or any(counts[255 - NEAR : 255])
    return mask.point(CLEAN) if near else mask


def _telling(opacity: Pixels) -> Pixels | None:
    """An alpha channel, if it says which part of the picture counts."""
    least, most = opacity.min(), opacity.max()
    return opacity if least < OPAQUE and least != most else None


def _doubts(counts: Sequence[int]) -> list[str]:
    """Notes on a mask, by its histogram, that is taken as it is, but looks like class numbers or is white nowhere."""
    faint, between = any(counts[1:FAINTEST]), any(counts[FAINTEST : 255 - NEAR])
    white = any(counts[255 - NEAR :])
    if between:
        return [] if white else [GREY]
    return [CLASSES if white else FAINT] if faint else []


def _scaled(values: NDArray[Any], notes: list[str]) -> Pixels:
    """8 bits, where whole numbers up to 1 mean black and white and 16 bits up to 255 mean 8."""
    top = values.max(initial=0)
    if values.dtype.kind in "iu" and top == 1 and values.min() >= 0:
        notes.append(TWO_VALUES)
        return values.astype(np.uint8) * 255
    if values.dtype.kind == "u" and values.dtype.itemsize == 2 and 1 < top <= 255:
        notes.append(SCALE)
        return values.astype(np.uint8)
    return to_bytes(values)


def _greys(pixels: Pixels, opacity: Pixels | None, labels: NDArray[Any] | None, notes: list[str]) -> Pixels:
    """Luminance; of labels, white where the larger or the coloured one is."""
    entries = [] if labels is None else _present(labels, opacity)
    if pixels.ndim == 2 or _spread(pixels if opacity is None else pixels[opacity > 0]) <= NEAR:
        greys = pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
        values = _present(greys, opacity)
        if len(entries) != 2 or set(values) == {0, 255}:
            return greys
        # The order of a palette of greys means nothing; where both entries look the same it is all there is.
        white = greys == values[-1] if len(values) == 2 else labels == entries[-1]
    else:
        white = labels == entries[-1] if len(entries) == 2 else _coloured(pixels, opacity)
    notes.append(TWO_VALUES)
    return np.where(white, np.uint8(255), np.uint8(0))


def _present(values: NDArray[Any], opacity: Pixels | None) -> list[int]:
    """Which 8-bit values there are where a mask is visible, rising; counted by Pillow, which copies nothing."""
    seen = None if opacity is None else Image.fromarray(opacity)
    return np.flatnonzero(Image.fromarray(values).histogram(seen)).tolist()


def _range(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """The smallest and the largest channel of each pixel."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)


def _spread(pixels: Pixels) -> int:
    """How far the channels of a pixel are from each other at most, ``(..., 3)``."""
    least, most = _range(pixels)
    return int((most - least).max(initial=0))


def _coloured(pixels: Pixels, opacity: Pixels | None) -> NDArray[np.bool_]:
    """Where the one colour is that stands beside black, or alone."""
    seen = pixels if opacity is None else pixels[opacity > 0][None]
    found = Image.fromarray(seen).getcolors(2)
    dark = _range(pixels)[1] <= NEAR
    if found is not None and (len(found) == 1 or any(max(colour) <= NEAR for _, colour in found)):
        return ~dark
    packed = seen.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    expected = "expected black, white and greys, or black and one colour; is it the picture?"
    raise PictureError("bad_mask", f"{len(np.unique(packed))} colours: {expected}")


def _is_one_colour(pixels: Pixels) -> bool:
    return bool((pixels == pixels[0]).all())
